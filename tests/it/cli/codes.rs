//! Exit codes, one by one.

use std::fs;

use serde_json::json;

use super::{assert_code, stderr, stdout};
use crate::nodes::node_with;
use crate::support::{Engine, Wallet, Warden, WardenConfig, db, engine, ports};

/// A database with the nodes of the configuration in it, nothing running.
fn migrated(config: WardenConfig) -> Warden {
    let warden = Warden::prepare(config);
    assert_code(&warden.cli(&["migrate"]), 0);
    warden
}

fn add(warden: &Warden, name: &str, port: u16, more: &[&str]) {
    let port = port.to_string();
    let args = [&["nodes", "add", name, "--port", &port][..], more].concat();
    assert_code(&warden.cli(&args), 0);
}

#[tokio::test]
async fn status_is_0_for_all_up_1_for_some_down_2_for_not_known() {
    let wallet = Wallet::start().await;
    let warden = migrated(WardenConfig::default());
    assert_code(&warden.cli(&["status"]), 0);
    add(&warden, "up", wallet.port(), &[]);
    assert_code(&warden.cli(&["status"]), 0);
    assert_code(&warden.cli(&["status", "up", "--method", "full"]), 0);
    add(&warden, "down", ports::free_port(), &[]);
    assert_code(&warden.cli(&["status"]), 1);
    assert_code(&warden.cli(&["status", "down"]), 1);
    assert_code(&warden.cli(&["status", "up"]), 0);
    assert_code(&warden.cli(&["status", "up", "down"]), 1);

    let unknown = warden.cli(&["status", "nobody"]);
    assert_code(&unknown, 2);
    assert!(stderr(&unknown).contains("nobody"), "{}", stderr(&unknown));
    assert_code(&warden.cli(&["status", "up", "nobody"]), 2);
    assert_code(&warden.cli(&["status", "4711"]), 2);
    assert_code(&warden.cli(&["nodes", "set", "down", "--unavailable"]), 0);
    assert_code(&warden.cli(&["status"]), 0);
    assert_code(&warden.cli(&["status", "down"]), 2);
    // 192.0.2.1 is nobody's (RFC 5737); this method asks nothing of the network.
    add(&warden, "remote", 18_082, &["--host", "192.0.2.1", "--pid", "1"]);
    assert_code(&warden.cli(&["status", "remote", "--method", "pid"]), 2);
}

#[test]
fn looking_never_makes_a_database() {
    let warden = Warden::prepare(WardenConfig::default());
    for args in [
        &["status"][..],
        &["status", "--output", "json"],
        &["nodes", "list"],
        &["migrations", "list"],
        &["instances"],
    ] {
        let output = warden.cli(args);
        assert_code(&output, 2);
        assert!(!stderr(&output).is_empty(), "{args:?}");
        assert!(db::tables(warden.database()).is_empty(), "{args:?} made it");
        if engine::is(Engine::Sqlite) {
            assert!(stderr(&output).contains("procwarden.db"), "{args:?}: {}", stderr(&output));
            assert!(!warden.db_file().exists(), "{args:?} made it");
        }
    }
    let left: Vec<_> =
        fs::read_dir(warden.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the configuration and the locks: {left:?}");
}

#[test]
fn an_older_schema_is_not_touched() {
    let warden = migrated(WardenConfig::default());
    let versions =
        db::query(warden.database(), "SELECT MAX(version) AS last FROM procwarden_schema");
    let sql = format!("DELETE FROM procwarden_schema WHERE version = {}", versions[0]["last"]);
    assert_eq!(db::execute(warden.database(), &sql), 1);
    let output = warden.cli(&["status"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("procwarden migrate"), "{}", stderr(&output));
}

#[test]
fn a_database_that_does_not_open_is_69_without_its_secrets() {
    for url in [
        "sqlite:///proc/no/such/place/procwarden.db",
        "postgres://me:hunter2@127.0.0.1:1/db?password=hunter2",
    ] {
        let warden = Warden::prepare(WardenConfig::default().set("database.url", url));
        let output = warden.cli(&["serve"]);
        let code = output.status.code().unwrap();
        // An engine that this build does not have is a fault of the configuration.
        let expected: &[i32] = if url.starts_with("sqlite") { &[69] } else { &[69, 78] };
        assert!(expected.contains(&code), "{code}: {}", stderr(&output));
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}

#[test]
fn a_file_that_is_no_database_is_69() {
    if !engine::only_sqlite("its database is no file") {
        return;
    }
    let warden = Warden::prepare(WardenConfig::default());
    fs::write(warden.db_file(), "this is no database, however long it may be. ".repeat(200))
        .unwrap();
    let output = warden.cli(&["serve"]);
    assert_code(&output, 69);
    assert!(stderr(&output).contains("procwarden.db"), "{}", stderr(&output));
}

#[test]
fn usage_is_64() {
    let warden = Warden::prepare(WardenConfig::default());
    for args in [
        &["frobnicate"][..],
        &["status", "--method", "ping"],
        &["status", "--output", "xml"],
        &["nodes"],
        &["nodes", "add", "n"],
        &["nodes", "add", "n", "--port", "70000"],
        &["migrations", "list", "--status", "done"],
        &["--no-such-flag"],
    ] {
        let output = warden.cli(args);
        assert_code(&output, 64);
        assert!(stdout(&output).is_empty() && !stderr(&output).is_empty(), "{args:?}");
    }
    let method = stderr(&warden.cli(&["status", "--method", "ping"]));
    assert!(method.contains("pid, port, api, full"), "{method}");
    assert_code(&warden.cli(&["--help"]), 0);
    assert_code(&warden.cli(&["--version"]), 0);
}

#[test]
fn every_fault_of_the_configuration_is_told_at_once_and_nothing_is_bound() {
    let config = WardenConfig::default()
        .set("nodes.interval", "soon")
        .set("nodes.failure_threshold", -1)
        .set("nodes.method", "ping")
        .set("server.listn", "127.0.0.1:1")
        .set("migrations.grace", "10 parsecs")
        .node(json!({"name": "status", "port": 1}))
        .node(node_with("fine", 18_082, json!({"tls": "maybe"})))
        .env("PROCWARDEN__LOG__LEVL", "debug");
    let warden = Warden::prepare(config);
    let faults = [
        "nodes.interval",
        "nodes.failure_threshold",
        "nodes.method",
        "server.listn",
        "migrations.grace",
        "'status'",
        "tls",
        "PROCWARDEN__LOG__LEVL",
        "procwarden.toml",
    ];
    for args in [&["check-config"][..], &["serve"], &["status"]] {
        let output = warden.cli(args);
        assert_code(&output, 78);
        let said = stderr(&output) + &stdout(&output);
        for fault in faults {
            assert!(said.contains(fault), "{args:?}: {fault} is not in\n{said}");
        }
    }
    assert!(db::tables(warden.database()).is_empty(), "nothing was opened");
}

#[test]
fn a_file_that_is_no_configuration_is_78_too() {
    let warden = Warden::prepare(WardenConfig::default());
    fs::write(warden.config_path(), "[server\nlisten = ").unwrap();
    let output = warden.cli(&["check-config"]);
    assert_code(&output, 78);
    assert!(stderr(&output).contains("procwarden.toml"), "{}", stderr(&output));
    fs::remove_file(warden.config_path()).unwrap();
    assert_code(&warden.cli(&["check-config"]), 78);
}

#[test]
fn a_sound_configuration_is_shown_with_its_sources_and_without_its_secrets() {
    let config = WardenConfig::default()
        .set("server.token", "hunter2")
        .node(node_with("n", 18_082, json!({"username": "u", "password": "hunter2"})))
        .env("PROCWARDEN__NODES__INTERVAL", "45s");
    let warden = Warden::prepare(config);
    let output = warden.cli(&["check-config"]);
    assert_code(&output, 0);
    let said = stdout(&output) + &stderr(&output);
    // The table is cut at 80 columns; where it comes from is still to be seen.
    let interval = said.lines().find(|line| line.contains("nodes.interval")).unwrap_or_default();
    assert!(interval.contains("45s") && interval.contains("environment variable"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_port_that_is_taken_ends_the_server_with_a_failure() {
    let held = ports::HeldPort::take();
    let listen = format!("127.0.0.1:{}", held.number());
    let warden = Warden::prepare(WardenConfig::default().set("server.listen", listen.clone()));
    let output = warden.cli(&["serve"]);
    let code = output.status.code().expect("an exit code");
    assert!(code != 0 && code != 124, "{code}: {}", stderr(&output));
    assert!(stderr(&output).contains(&listen), "{}", stderr(&output));
    // It let go of the database: the next one may have it.
    drop(held);
    add(&warden, "n", 18_082, &[]);
    assert_code(&warden.cli(&["status", "n", "--method", "port", "--save"]), 1);
}
