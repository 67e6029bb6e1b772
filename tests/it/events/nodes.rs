//! The end of a node's process: its check comes at once.

use std::path::Path;

use serde_json::{Value, json};

use crate::nodes::{SOON, becomes, find, node, node_with};
use crate::support::kernel::{self, PIDFD_OPEN, Refused};
use crate::support::program::Program;
use crate::support::{Wallet, Warden, WardenConfig, db, eventually, ports};

/// Looks so rarely that only an event can tell anything within the test.
fn rarely(method: &str) -> WardenConfig {
    WardenConfig::default()
        .set("events.enabled", true)
        .set("nodes.interval", "300s")
        .set("nodes.method", method)
}

/// A process that has become its program: the first look finds it so.
async fn sleeper(dir: &Path) -> Program {
    let process = Program::sleeper(dir);
    let comm = format!("/proc/{}/comm", process.pid());
    eventually(SOON, || async {
        let name = std::fs::read_to_string(&comm).unwrap_or_default();
        if name == "sleep\n" { Ok(()) } else { Err(name) }
    })
    .await;
    process
}

/// A node that is this process by its PID.
fn sleeping(name: &str, process: &Program) -> Value {
    node_with(name, ports::free_port(), json!({"pid": process.pid(), "process_name": "sleep"}))
}

/// Waits until the service holds the process.
async fn held(warden: &Warden, pid: i32) {
    eventually(SOON, || async {
        let held = kernel::pidfds(warden.pid());
        if held.contains(&pid) { Ok(()) } else { Err(format!("{held:?}\n{}", warden.log())) }
    })
    .await;
}

/// The states that are on record as turned to, in order.
async fn turned(warden: &Warden, states: &[&str]) {
    eventually(SOON, || async {
        let events = db::events_of(warden.database(), "node");
        let seen: Vec<&str> = events.iter().filter_map(|it| it["state"].as_str()).collect();
        if seen == states { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

/// Is it told how processes of others ended? Since Linux 6.15.
fn kernel_tells() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|it| it.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15)
}

#[tokio::test]
async fn the_death_of_a_process_is_seen_without_waiting_for_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = sleeper(dir.path()).await;
    let mut other = sleeper(dir.path()).await;
    let pid = process.pid();
    let config = rarely("pid").node(sleeping("one", &process)).node(sleeping("other", &other));
    let warden = Warden::start(config).await;
    becomes(&warden, "one", "up", None).await;
    held(&warden, pid).await;
    held(&warden, other.pid()).await;
    let looked = |node: &Value| node["last_check"].clone();
    let before = looked(&becomes(&warden, "other", "up", None).await);

    process.kill();
    becomes(&warden, "one", "down", Some("process_gone")).await;
    turned(&warden, &["down"]).await;
    let after = looked(&becomes(&warden, "other", "up", None).await);
    assert_eq!(before, after, "only the node whose process ended was looked at");
    if kernel_tells() {
        let told = warden
            .until("/nodes/one/status?method=pid", SOON, |answer| {
                let details = answer.json["details"].clone();
                details.get("exit").is_some().then_some(details)
            })
            .await;
        assert_eq!(told["exit"], json!({"signal": "SIGKILL"}));
        assert_eq!(told["error"], format!("Process {pid} was killed by SIGKILL"));
        assert_eq!(told["message"], "Process not found");
        recorded(&warden, &format!("Process {pid} was killed by SIGKILL")).await;
    }
    other.kill();
    turned(&warden, &["down", "down"]).await;
}

/// Waits until what is on record of a node's last look says this.
async fn recorded(warden: &Warden, text: &str) {
    eventually(SOON, || async {
        let rows = db::nodes(warden.database());
        let told = |row: &Value| row.to_string().contains(text);
        if rows.iter().any(told) { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_zombie_is_down_at_once_and_how_it_ended_follows() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = sleeper(dir.path()).await;
    // Far more than an end needs, and soon enough if this machine stands still for the two seconds of questions.
    let config = rarely("pid").set("nodes.interval", "5s").node(sleeping("one", &process));
    let warden = Warden::start(config).await;
    // Before that, a check could be what holds it, for a moment.
    becomes(&warden, "one", "up", None).await;
    held(&warden, process.pid()).await;
    process.kill_unreaped();
    becomes(&warden, "one", "down", Some("process_zombie")).await;
    if kernel_tells() {
        process.reap();
        becomes(&warden, "one", "down", Some("process_gone")).await;
        recorded(&warden, "SIGKILL").await;
    }
}

#[tokio::test]
async fn a_server_that_is_checked_by_its_api_is_held_by_its_port() {
    let mut wallet = Wallet::start().await;
    let pid = wallet.pid();
    let warden = Warden::start(rarely("api").node(node("wallet", wallet.port()))).await;
    becomes(&warden, "wallet", "up", None).await;
    held(&warden, pid).await;
    wallet.kill();
    becomes(&warden, "wallet", "down", Some("port_closed")).await;
    turned(&warden, &["down"]).await;
    if kernel_tells() {
        recorded(&warden, &format!("Process {pid} was killed by SIGKILL")).await;
        let full = warden.get("/nodes/wallet/status").await.json;
        let details = &full["details"]["checks"]["pid"]["details"];
        assert_eq!(details["exit"], json!({"signal": "SIGKILL"}), "{full:#}");
    }
}

#[tokio::test]
async fn without_events_the_interval_sees_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = sleeper(dir.path()).await;
    let config = WardenConfig::default()
        .set("events.enabled", true)
        .set("nodes.method", "pid")
        .set("events.enabled", false)
        .node(sleeping("one", &process));
    let warden = Warden::start(config).await;
    becomes(&warden, "one", "up", None).await;
    process.kill();
    becomes(&warden, "one", "down", Some("process_gone")).await;
    turned(&warden, &["down"]).await;
    assert_eq!(kernel::pidfds(warden.pid()), [0; 0]);
}

/// A service whose kernel refuses `pidfd_open` with this error; none where no filter can be made.
async fn without_pidfds(process: &Program, errno: i32) -> Option<Warden> {
    let Some(wrapper) = kernel::without_syscalls(&[Refused { call: PIDFD_OPEN, errno }]) else {
        println!("NOT SHOWN: no numbers of system calls for {}", std::env::consts::ARCH);
        return None;
    };
    let config = WardenConfig::default()
        .set("events.enabled", true)
        .set("nodes.method", "pid")
        .node(sleeping("one", process));
    let mut warden = Warden::prepare(config);
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    warden.launch_under(&words);
    warden.ready().await;
    Some(warden)
}

#[tokio::test]
async fn where_pidfds_are_refused_everything_is_found_by_looking() {
    let errors =
        [(rustix::io::Errno::NOSYS, "has no pidfd_open"), (rustix::io::Errno::PERM, "forbids")];
    for (errno, why) in errors {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path()).await;
        let Some(warden) = without_pidfds(&process, errno.raw_os_error()).await else { return };
        becomes(&warden, "one", "up", None).await;
        let said = |log: String| log.contains("found by looking") && log.contains(why);
        eventually(SOON, || async { said(warden.log()).then_some(()).ok_or(warden.log()) }).await;
        assert_eq!(kernel::pidfds(warden.pid()), [0; 0]);
        process.kill();
        becomes(&warden, "one", "down", Some("process_gone")).await;
        turned(&warden, &["down"]).await;
    }
}

#[tokio::test]
async fn with_too_few_descriptors_some_are_watched_and_the_rest_is_looked_at() {
    const NODES: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut processes = Vec::new();
    for _ in 0..NODES {
        processes.push(sleeper(dir.path()).await);
    }
    // Few looks at once, and time for them: on a busy machine those that wait for a core would hold all that is left, and
    // nothing be known of some at any moment.
    let mut config = WardenConfig::default()
        .set("events.enabled", true)
        .set("nodes.method", "pid")
        .set("nodes.concurrency", 8)
        .set("nodes.interval", "5s");
    for (at, process) in processes.iter().enumerate() {
        config = config.node(sleeping(&format!("n{at}"), process));
    }
    let mut warden = Warden::prepare(config);
    warden.launch_under(&["prlimit", "--nofile=200:200"]);
    warden.ready().await;
    warden
        .until("/nodes/status", SOON, |answer| (answer.json["working"] == NODES).then_some(()))
        .await;
    let said = |log: String| log.contains("400 processes are not watched: too many open files");
    eventually(SOON, || async { said(warden.log()).then_some(()).ok_or(warden.log()) }).await;
    let held = kernel::pidfds(warden.pid());
    assert!(!held.is_empty() && held.len() < 73, "{}", held.len());
    let is_held = |process: &Program| held.contains(&process.pid());
    let watched = processes.iter().position(is_held).unwrap();
    let unwatched = processes.iter().position(|it| !is_held(it)).unwrap();
    for at in [watched, unwatched] {
        processes[at].kill();
        let name = format!("n{at}");
        warden
            .until("/nodes/status", SOON, |answer| {
                (find(&answer.json["nodes"], &name)["state"] == "down").then_some(())
            })
            .await;
    }
    // Nobody is down for want of descriptors; at worst nothing is known for a moment.
    let gone = [watched, unwatched].map(|at| format!("n{at}"));
    warden
        .until("/nodes/status", SOON, |answer| {
            for node in answer.json["nodes"].as_array().unwrap() {
                let is_gone = gone.iter().any(|name| node["name"] == name.as_str());
                assert!(is_gone == (node["state"] == "down"), "{node:#}");
            }
            (answer.json["working"] == NODES - 2).then_some(())
        })
        .await;
    assert!(!warden.log().contains("ERROR"), "{}", warden.log());
}
