//! `nodes discover` and `nodes.discover`: real servers, started in every way. Others run on this machine as well, so each
//! test looks at its own by their PIDs.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SOON, becomes, data, node, node_with};
use crate::support::monerod::Monerod;
use crate::support::owner::Owner;
use crate::support::program::{Program, copy_program};
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, eventually, kernel, ports};

/// A `monero-wallet-rpc` that is told what it is by a file and its environment, not by its command line.
struct Quiet {
    program: Program,
    port: u16,
    _dir: TempDir,
}

impl Quiet {
    async fn start(file: &str, env: &[(&str, &str)]) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), ports::free_port());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "# of a test\nrpc-bind-port = {port}\nwallet-dir={}\nlog-file={}\nshared-ringdb-dir={}\n\
             non-interactive=1\nrpc-ssl=disabled\n{file}",
            path(""),
            path("log"),
            path("ringdb")
        );
        fs::write(path("wallet.conf"), text).unwrap();
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let out = dir.path().join("out");
        // A relative path is one of its own directory.
        let args = ["--config-file", "wallet.conf"];
        let program = Program::start("monero-wallet-rpc", args, dir.path(), &out, &env);
        let pid = program.pid();
        eventually(SOON, || async {
            if kernel::listens(pid, port) {
                Ok(())
            } else {
                Err(format!("not yet: {}", program.log()))
            }
        })
        .await;
        Self { program, port, _dir: dir }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a look told of this process; null if nothing.
fn of(told: &Output, pid: i32) -> Value {
    let all: Value = serde_json::from_str(&text(&told.stdout))
        .unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let mut found = all["data"].as_array().unwrap().iter();
    found.find(|it| it["pid"] == pid).cloned().unwrap_or(Value::Null)
}

/// The nodes of the registry on this port.
fn on_port(warden: &Warden, port: u16) -> Vec<Value> {
    let list = warden.cli(&["nodes", "list", "--output", "json"]);
    let all: Value = serde_json::from_str(&text(&list.stdout)).expect("JSON");
    all["data"].as_array().unwrap().iter().filter(|it| it["port"] == port).cloned().collect()
}

const ADD: [&str; 5] = ["nodes", "discover", "--add", "--output", "json"];

#[tokio::test]
async fn servers_are_found_however_they_were_started_and_added_once() {
    let daemon = Monerod::start().await;
    let line = Wallet::start_with(WalletOptions {
        login: Some("user:s3cret-line".to_owned()),
        daemon: Some(daemon.port()),
        ..WalletOptions::default()
    })
    .await;
    let tls =
        Wallet::start_with(WalletOptions { ssl: "enabled", ..WalletOptions::default() }).await;
    let file = Quiet::start("rpc-login=filed:s3cret:file\ndaemon-address=127.0.0.1:1\n", &[]).await;
    let env = Quiet::start("offline=1\n", &[("RPC_LOGIN", "env:s3cret-env")]).await;
    let made = Quiet::start("offline=1\n", &[]).await;
    let mut warden = Warden::prepare(WardenConfig::default());

    let told = warden.cli(&ADD);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let (out, err) = (text(&told.stdout), text(&told.stderr));
    assert!(!out.contains("s3cret") && !err.contains("s3cret"), "{out}\n{err}");
    for (pid, port, kind, login, more) in [
        (
            line.pid(),
            line.port(),
            "wallet",
            Some("user"),
            json!({"daemon": format!("127.0.0.1:{}", daemon.port())}),
        ),
        (
            tls.pid(),
            tls.port(),
            "wallet",
            None,
            json!({"tls": "insecure", "has_password": false, "notes": []}),
        ),
        (
            file.program.pid(),
            file.port,
            "wallet",
            Some("filed"),
            json!({"daemon": "127.0.0.1:1", "notes": []}),
        ),
        (env.program.pid(), env.port, "wallet", Some("env"), json!({"daemon": null, "tls": "off"})),
        (made.program.pid(), made.port, "wallet", Some("monero"), json!({"has_password": true})),
        (daemon.pid(), daemon.port(), "monerod", None, json!({"kind": "monerod", "notes": []})),
    ] {
        let it = of(&told, pid);
        assert_eq!((&it["result"], &it["port"]), (&json!("added"), &json!(port)), "{it:#}\n{err}");
        assert_eq!(it["node"], format!("{kind}-{port}"), "{it:#}");
        assert_eq!(it["username"], json!(login), "{it:#}");
        for (key, value) in more.as_object().unwrap() {
            assert_eq!(&it[key], value, "{key}: {it:#}");
        }
    }
    let notes = of(&told, made.program.pid())["notes"].to_string();
    assert!(notes.contains("another one after each start"), "{notes}");

    let again = warden.cli(&ADD);
    let known = of(&again, line.pid());
    assert_eq!(
        (&known["result"], &known["node"]),
        (&json!("known"), &json!(format!("wallet-{}", line.port())))
    );
    assert_eq!(on_port(&warden, line.port()).len(), 1, "once");

    warden.launch();
    warden.ready().await;
    for port in [line.port(), tls.port(), file.port, env.port, made.port] {
        becomes(&warden, &format!("wallet-{port}"), "up", None).await;
    }
    becomes(&warden, &format!("monerod-{}", daemon.port()), "up", None).await;
}

#[tokio::test]
async fn without_a_database_it_is_told_what_runs_and_nothing_is_made() {
    let wallet = Wallet::start_login("user:s3cret").await;
    let (dir, other) = (TempDir::new().unwrap(), Wallet::start().await);
    let url = format!("sqlite://{}", dir.path().join("none.db").display());
    let warden = Warden::prepare(WardenConfig::default().set("database.url", url));
    let told = warden.cli(&["nodes", "discover", "--output", "json"]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let it = of(&told, wallet.pid());
    assert_eq!((&it["result"], &it["has_password"]), (&json!("new"), &json!(true)), "{it:#}");
    assert!(text(&told.stderr).contains("--add registers them"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let table = warden.cli(&["nodes", "discover"]);
    let (out, err) = (text(&table.stdout), text(&table.stderr));
    assert!(out.contains("user:***") || out.contains("LOGIN"), "{out}");
    assert!(out.contains(&other.port().to_string()) && !out.contains("s3cret"), "{out}\n{err}");
}

#[tokio::test]
async fn a_server_registers_what_runs_and_leaves_what_is_gone() {
    let mut wallet = Wallet::start_login("user:s3cret").await;
    let known = Wallet::start().await;
    let config = WardenConfig::default()
        .set("nodes.discover", true)
        .set("nodes.prune", true)
        .node(node("mine", known.port()));
    let mut warden = Warden::start(config).await;
    let name = format!("wallet-{}", wallet.port());
    becomes(&warden, &name, "up", None).await;
    let shown = warden.get(&format!("/nodes/{name}")).await.json;
    assert_eq!(
        (&data(&shown)["username"], &data(&shown)["has_password"]),
        (&json!("user"), &json!(true))
    );
    assert_eq!(
        warden.get(&format!("/nodes/wallet-{}", known.port())).await.status,
        404,
        "it is known"
    );
    assert!(!warden.log().contains("s3cret"));

    let id = data(&shown)["id"].clone();
    wallet.kill();
    becomes(&warden, &name, "down", Some("port_closed")).await;
    warden.restart().await;
    let shown = warden.get(&format!("/nodes/{name}")).await.json;
    assert_eq!(data(&shown)["id"], id, "it came from no file, so none prunes it");
    becomes(&warden, &name, "down", Some("port_closed")).await;
}

#[tokio::test]
async fn what_only_bears_the_name_or_is_elsewhere_is_said_and_not_added() {
    let dir = TempDir::new().unwrap();
    let copy = dir.path().join("monero-wallet-rpc");
    copy_program("/bin/sleep", &copy);
    let log = dir.path().join("log");
    let sleeper = Program::start(&copy, ["600"], dir.path(), &log, &[]);
    let copy = copy.to_str().unwrap();
    let words = ["--pid", "--fork", "--kill-child", copy, "600"];
    let container = Program::start("unshare", words, dir.path(), &log, &[]);
    let inner = eventually(SOON, || async {
        let parent = container.pid();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let pid = children.ok().and_then(|text| text.trim().parse::<i32>().ok());
        let runs = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|it| it.contains("600") && !it.contains("--fork"))
        };
        pid.filter(runs).ok_or_else(|| "no process in the other namespace yet".to_owned())
    })
    .await;
    let warden = Warden::prepare(WardenConfig::default());
    let told = warden.cli(&ADD);
    for (pid, note) in
        [(sleeper.pid(), "it does not listen on a port"), (inner, "another PID namespace")]
    {
        let it = of(&told, pid);
        assert_eq!((&it["result"], &it["port"]), (&json!("skipped"), &Value::Null), "{it:#}");
        assert!(it["notes"].to_string().contains(note), "{it:#}");
    }
}

#[tokio::test]
async fn a_place_that_is_registered_is_known_under_any_of_its_names() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default().node(node_with(
        "mine",
        wallet.port(),
        json!({"host": "localhost"}),
    ));
    let warden = Warden::start(config).await;
    let it = of(&warden.cli(&ADD), wallet.pid());
    assert_eq!((&it["result"], &it["node"]), (&json!("known"), &json!("mine")), "{it:#}");
    assert_eq!(on_port(&warden, wallet.port()).len(), 1);
}

#[tokio::test]
async fn what_another_user_may_not_read_is_said_and_not_guessed() {
    let owner = Owner::of("daemon");
    let line = Wallet::start_login("user:s3cret").await;
    let env = Quiet::start("offline=1\n", &[("RPC_LOGIN", "env:s3cret")]).await;
    let dir = owner.dir();
    let binary = dir.path().join("procwarden");
    copy_program(env!("CARGO_BIN_EXE_procwarden"), &binary);
    let told = as_user(owner, &binary, dir.path());
    let it = of(&told, line.pid());
    assert_eq!(
        (&it["result"], &it["port"], &it["username"]),
        (&json!("new"), &json!(line.port()), &json!("user")),
        "{it:#}"
    );
    let it = of(&told, env.program.pid());
    if owner.words().is_empty() {
        // Not root: the servers are our own, and all is read.
        return;
    }
    assert_eq!((&it["result"], &it["username"]), (&json!("skipped"), &Value::Null), "{it:#}");
    let notes = it["notes"].to_string();
    for note in [
        "sockets cannot be read",
        "configuration file cannot be read",
        "environment cannot be read",
    ] {
        assert!(notes.contains(note), "{note}: {it:#}");
    }
}

fn as_user(owner: Owner, binary: &Path, dir: &Path) -> Output {
    let url = format!("sqlite://{}", dir.join("none.db").display());
    let words = ["--database-url", &url, "nodes", "discover", "--output", "json"];
    let mut all = owner.words();
    all.push(binary.to_str().unwrap().to_owned());
    all.extend(words.map(str::to_owned));
    Command::new(&all[0]).args(&all[1..]).current_dir(dir).output().unwrap()
}
