//! A hundred thousand nodes, or lock files.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::{LONG, figure, lateness_is_told, resident};
use crate::migrations::{KILLED, events, gone, is_line, line, long_grace};
use crate::support::job::{self, Lock};
use crate::support::light::{Does, Lights};
use crate::support::program::Program;
use crate::support::{Answer, Warden, WardenConfig, db, engine, eventually};

const MANY: usize = 100_000;

/// What a hundred thousand nodes may take, MiB; measured with the program as it is shipped, see `BENCHMARKS.md`, and as
/// much again for one that is built without optimisation.
const NODES_TAKE: u64 = 900;

/// The same for a hundred thousand locks.
const LOCKS_TAKE: u64 = 900;

/// The nodes of this process need as many descriptors as there are connections to them.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn fill(warden: &Warden, port: u16) {
    let sql = format!(
        "INSERT INTO procwarden_nodes (id, version, origin, instance, owner, name, host, port, tls, process_name,
         available, state, message, worked, created_at, updated_at)
         WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {MANY})
         SELECT g, 1, 'user', 'test-1', 'test-1', 'node-' || g, '127.0.0.1', {port}, 'off', 'monero-wallet-rpc',
         1, 'unknown', '', 0, 1, 1 FROM n"
    );
    assert_eq!(db::execute(warden.database(), &sql), MANY as u64);
}

#[tokio::test]
#[ignore = "slow: a hundred thousand nodes"]
async fn a_hundred_thousand_nodes_and_a_death_among_them() {
    if !engine::only_sqlite("the same nodes would be checked the same way") {
        return;
    }
    raise_descriptors();
    let lights = Lights::start();
    let light = lights.node(Does::Answers);
    let config = WardenConfig::default()
        .set("nodes.interval", "30s")
        .set("nodes.api_timeout", "30s")
        .set("nodes.connect_timeout", "30s")
        .set("log.level", "info");
    let mut warden = Warden::prepare(config);
    assert!(warden.cli(&["migrate"]).status.success());
    fill(&warden, light.port());
    warden.launch();
    warden.ready().await;
    let all = |answer: &Answer| (answer.json["working"] == MANY).then_some(());
    warden.until("/health", LONG, all).await;
    // The limit that we were given is the one that is used and told.
    let limits = fs::read_to_string(format!("/proc/{}/limits", warden.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|at| line.split_whitespace().nth(at).unwrap());
    assert_eq!(soft, hard, "raised");
    assert_eq!(figure(&warden, "process_max_fds").await, soft.parse::<u64>().unwrap());
    assert!(figure(&warden, "process_open_fds").await > 100);
    // Another whole pass, and /health is what it was all the while.
    let ticks = figure(&warden, "procwarden_ticks_total{loop=\"nodes\"}").await;
    eventually(LONG, || async {
        let answer = warden.get("/health").await;
        assert_eq!(answer.status, 200, "{:#}; {}", answer.json, warden.log());
        let now = figure(&warden, "procwarden_ticks_total{loop=\"nodes\"}").await;
        if now > ticks { Ok(()) } else { Err(format!("{now} passes")) }
    })
    .await;
    lateness_is_told(&warden, "nodes").await;
    let takes = resident(&warden);
    assert!(takes <= NODES_TAKE, "{takes} MiB");
    light.set(Does::Closed);
    let down = |answer: &Answer| (answer.json["working"] == 0).then_some(());
    warden.until("/health", LONG, down).await;
    let flips = "SELECT COUNT(*) AS n, COUNT(DISTINCT name) AS m FROM procwarden_events WHERE kind = 'node'";
    eventually(LONG, || async {
        let rows = db::query(warden.database(), flips);
        let all = rows[0]["n"] == MANY && rows[0]["m"] == MANY;
        if all { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    let takes = resident(&warden);
    assert!(takes <= NODES_TAKE, "{takes} MiB");
}

#[tokio::test]
#[ignore = "slow: a hundred thousand lock files"]
async fn a_hundred_thousand_locks_and_a_death_among_them() {
    let warden =
        Warden::start(long_grace().set("migrations.interval", "2s").set("log.level", "info")).await;
    let (dir, locks) = (warden.dir().to_owned(), warden.lock_dir());
    let jobs: Vec<Program> = (0..100).map(|_| Program::sleeper(&dir)).collect();
    let pids: Vec<i32> = jobs.iter().map(Program::pid).collect();
    tokio::task::spawn_blocking(move || {
        for id in 0..MANY {
            let lock = Lock::new(i64::try_from(id).unwrap() + 10, pids[id % pids.len()]);
            lock.started_ago(9000).write(&locks);
        }
    })
    .await
    .unwrap();
    let mut dies = Program::sleeper(&dir);
    let path = Lock::new(1, dies.pid()).started_ago(9000).write(&warden.lock_dir());
    shows(&warden, "in_progress alive - run1").await;
    let all = |answer: &Answer| (answer.json["count"] == MANY + 1).then_some(());
    warden.until("/migrations", LONG, all).await;
    dies.kill();
    shows(&warden, &format!("error finished {KILLED} run1")).await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
    assert_eq!(db::events_of(warden.database(), "migration").len(), 1, "and nobody else died");
    assert_eq!(fs::read_dir(warden.lock_dir()).unwrap().count(), MANY);
    assert!(job::asides(&warden.lock_dir()).is_empty());
    lateness_is_told(&warden, "migrations").await;
    let answer = warden.get("/health").await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    let takes = resident(&warden);
    assert!(takes <= LOCKS_TAKE, "{takes} MiB");
}

async fn shows(warden: &Warden, expected: &str) {
    warden
        .until("/migrations?brz_project_id=1", LONG, |answer| {
            is_line(&line(&answer.json["data"][0]), expected).then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_may_be_raised_is_raised_and_what_may_not_is_told() {
    for (words, soft) in [("64:4096", 4096), ("200:200", 200)] {
        let mut warden = Warden::prepare(WardenConfig::default());
        warden.launch_under(&["prlimit", &format!("--nofile={words}")]);
        warden.ready().await;
        assert_eq!(figure(&warden, "process_max_fds").await, soft);
        let fds = format!("/proc/{}/fd", warden.pid());
        let open = figure(&warden, "process_open_fds").await;
        let seen = fs::read_dir(fds).unwrap().count();
        assert!(open.abs_diff(seen as u64) <= 8, "{open} told, {seen} seen");
    }
}

/// One that is slow holds nobody up.
#[tokio::test]
async fn nodes_that_answer_a_byte_a_second_hold_nobody_up() {
    let lights = Lights::start();
    let slow: Vec<_> = (0..50).map(|_| lights.node(Does::Dribbles)).collect();
    let quick = lights.node(Does::Answers);
    let config = WardenConfig::default().set("nodes.api_timeout", "2s").set("nodes.concurrency", 8);
    let config = slow.iter().enumerate().fold(config, |config, (at, it)| {
        config.node(serde_json::json!({"name": format!("slow-{at}"), "port": it.port()}))
    });
    let warden =
        Warden::start(config.node(serde_json::json!({"name": "quick", "port": quick.port()})))
            .await;
    let are_down = |answer: &Answer| {
        let nodes = answer.json["nodes"].as_array()?;
        let timed_out = nodes.iter().filter(|it| it["reason"] == "api_timeout").count();
        (timed_out == slow.len()).then_some(())
    };
    warden.until("/nodes/status", Duration::from_mins(1), are_down).await;
    // Told long before those have answered, which takes minutes.
    for does in [Does::Closed, Does::Answers] {
        quick.set(does);
        let state = if does == Does::Answers { "up" } else { "down" };
        warden
            .until("/nodes/status", Duration::from_secs(20), |answer| {
                let it = crate::nodes::find(&answer.json["nodes"], "quick");
                (it["state"] == state).then_some(())
            })
            .await;
    }
    lateness_is_told(&warden, "nodes").await;
}
