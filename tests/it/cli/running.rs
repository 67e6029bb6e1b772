//! Beside a running server: who holds the database, and what the server hears of.

use std::time::Duration;

use serde_json::json;

use super::{assert_code, json as parsed, stderr, stdout};
use crate::nodes::{SOON, becomes, find, node};
use crate::support::{Wallet, Warden, WardenConfig, db, eventually, kernel, ports};

#[tokio::test]
async fn a_second_server_on_one_database_is_75() {
    let warden = Warden::start(WardenConfig::default()).await;
    let listen = format!("127.0.0.1:{}", ports::free_port());
    let output = warden.cli(&["--listen", &listen, "serve"]);
    assert_code(&output, 75);
    assert!(
        stderr(&output).contains(&warden.pid().to_string()),
        "who holds it: {}",
        stderr(&output)
    );
    assert_eq!(warden.get("/livez").await.status, 200, "the first one lives on");
}

#[tokio::test]
async fn a_server_that_was_killed_holds_nothing() {
    let mut warden = Warden::start(WardenConfig::default()).await;
    warden.kill9();
    warden.restart().await;
    assert_eq!(warden.get("/livez").await.status, 200);
}

#[tokio::test]
async fn saving_while_a_server_runs_is_75_and_checks_nothing() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default().set("nodes.interval", "1h").node(node("n", wallet.port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "n", "up", None).await;
    let connections = kernel::peers_of(warden.pid(), wallet.port());
    let output = warden.cli(&["status", "--save"]);
    assert_code(&output, 75);
    assert!(stdout(&output).is_empty(), "{}", stdout(&output));
    assert_eq!(kernel::peers_of(warden.pid(), wallet.port()), connections);
    // Looking without saving is fine.
    assert_code(&warden.cli(&["status"]), 0);
}

#[tokio::test]
async fn saving_goes_the_way_of_the_server_with_its_event() {
    let mut wallet = Wallet::start().await;
    let mut warden = Warden::start(WardenConfig::default().node(node("n", wallet.port()))).await;
    becomes(&warden, "n", "up", None).await;
    assert_eq!(warden.stop().await.code(), Some(0));
    let before = db::events_of(warden.database(), "node").len();
    wallet.kill();
    assert_code(&warden.cli(&["status"]), 1);
    assert_eq!(db::events_of(warden.database(), "node").len(), before, "looked, not recorded");
    assert_eq!(db::nodes(warden.database())[0]["state"], "up");

    assert_code(&warden.cli(&["status", "--save"]), 1);
    let row = &db::nodes(warden.database())[0];
    assert_eq!((&row["state"], &row["reason"]), (&json!("down"), &json!("port_closed")));
    let events = db::events_of(warden.database(), "node");
    assert_eq!(events.len(), before + 1, "{events:?}");
    assert_eq!(events.last().unwrap()["state"], "down");
    assert_code(&warden.cli(&["status", "--save"]), 1);
    assert_eq!(db::events_of(warden.database(), "node").len(), before + 1, "nothing new, no event");
}

#[tokio::test]
async fn a_node_added_beside_a_running_server_is_seen() {
    let wallet = Wallet::start().await;
    let warden = Warden::start(WardenConfig::default()).await;
    let port = wallet.port().to_string();
    assert_code(&warden.cli(&["nodes", "add", "new", "--port", &port]), 0);
    // Within 2 s by the contract; the deadline here is for a busy machine.
    becomes(&warden, "new", "up", None).await;
    assert_code(&warden.cli(&["nodes", "set", "new", "--unavailable"]), 0);
    warden.until("/nodes/status", SOON, |answer| (answer.json["total"] == 0).then_some(())).await;
    assert_code(&warden.cli(&["nodes", "remove", "new"]), 0);
    warden.until("/nodes/new", SOON, |answer| (answer.status == 404).then_some(())).await;
}

#[tokio::test]
async fn health_asks_the_running_instance() {
    let wallet = Wallet::start().await;
    let mut warden = Warden::start(WardenConfig::default().node(node("n", wallet.port()))).await;
    becomes(&warden, "n", "up", None).await;
    assert_code(&warden.cli(&["health"]), 0);
    wallet.stop().await;
    warden.post("/nodes", &node("dead", ports::free_port())).await;
    warden.until("/health", SOON, |answer| (answer.status == 503).then_some(())).await;
    assert_code(&warden.cli(&["health"]), 1);
    warden.kill9();
    assert_code(&warden.cli(&["health"]), 2);
}

#[tokio::test]
async fn a_hangup_rereads_the_nodes_and_a_faulty_file_changes_nothing() {
    let wallet = Wallet::start().await;
    let mut warden = Warden::start(WardenConfig::default()).await;
    warden.reconfigure(|config| config.node(node("late", wallet.port())));
    warden.signal(rustix::process::Signal::HUP);
    becomes(&warden, "late", "up", None).await;

    std::fs::write(warden.config_path(), "[[node]]\nname = ").unwrap();
    warden.signal(rustix::process::Signal::HUP);
    eventually(Duration::from_secs(20), || {
        let log = warden.log();
        async move { if log.contains("ERROR") { Ok(()) } else { Err(log) } }
    })
    .await;
    let list = warden.get("/nodes/status").await.json;
    assert_eq!(find(&list["nodes"], "late")["state"], "up");
}

#[tokio::test]
async fn json_of_the_command_line_is_that_of_http() {
    let wallet = Wallet::start().await;
    let warden = Warden::start(WardenConfig::default().node(node("n", wallet.port()))).await;
    becomes(&warden, "n", "up", None).await;
    let printed = parsed(&warden.cli(&["status", "--output", "json"]));
    let example = crate::support::shape::example("nodes-status");
    let nullable = ["/nodes/*/reason", "/nodes/*/latency_ms", "/nodes/*/since"];
    crate::support::shape::assert_like(&printed, &example, &nullable);
    assert_eq!((&printed["total"], &printed["working"]), (&json!(1), &json!(1)));
    let instances = parsed(&warden.cli(&["instances", "--output", "json"]));
    assert!(instances.to_string().contains("test-1"), "{instances:#}");
}
