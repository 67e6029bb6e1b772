//! Processes that are stopped, killed and not reaped, killed and gone; and that one's hang is nobody else's.

use serde_json::json;

use super::{SOON, becomes, find, live, node, node_with};
use crate::support::shape::{assert_like, example};
use crate::support::{Wallet, Warden, WardenConfig, kernel};

#[tokio::test]
async fn a_stopped_server_keeps_its_port_open_and_answers_nothing() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default().set("nodes.api_timeout", "700ms").node(node_with(
        "frozen",
        wallet.port(),
        json!({"pid": wallet.pid()}),
    ));
    let warden = Warden::start(config).await;
    becomes(&warden, "frozen", "up", None).await;

    wallet.stop().await;
    becomes(&warden, "frozen", "down", Some("process_stopped")).await;

    let pid = live(&warden, "frozen", "pid", false, Some("process_stopped")).await;
    assert_eq!(pid["message"], "Process is not running");
    assert_eq!(pid["is_monero_process"], true);
    live(&warden, "frozen", "port", true, None).await;
    let api = live(&warden, "frozen", "api", false, Some("process_stopped")).await;
    assert_eq!(api["message"], "API check failed");
    let stopped = format!("timed out after 700 ms, its process {} is stopped", wallet.pid());
    assert_eq!(api["error"], stopped);
    let full = live(&warden, "frozen", "full", false, Some("process_stopped")).await;
    assert_like(&json!({"status": false, "details": full}), &example("node-status-full"), &[]);
    assert_eq!(full["message"], "Port is occupied but API is not responding");
    assert_eq!(
        full["summary"],
        json!({"pid_alive": false, "port_in_use": true, "api_responding": false})
    );

    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["status"]), (503, &json!("degraded")));

    wallet.cont();
    becomes(&warden, "frozen", "up", None).await;
    live(&warden, "frozen", "full", true, None).await;
    assert_eq!(warden.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_killed_server_is_a_zombie_until_it_is_reaped_and_dead_all_the_while() {
    let mut wallet = Wallet::start().await;
    let config = WardenConfig::default().node(node_with(
        "dead",
        wallet.port(),
        json!({"pid": wallet.pid()}),
    ));
    let warden = Warden::start(config).await;
    becomes(&warden, "dead", "up", None).await;

    wallet.kill_unreaped().await;
    becomes(&warden, "dead", "down", Some("port_closed")).await;
    let pid = live(&warden, "dead", "pid", false, Some("process_zombie")).await;
    assert_eq!(pid["message"], "Process not found");
    let port = live(&warden, "dead", "port", false, Some("port_closed")).await;
    assert_like(&json!({"status": false, "details": port}), &example("node-status-port"), &[]);
    assert_eq!(port["message"], "Port is not in use");
    let api = live(&warden, "dead", "api", false, Some("port_closed")).await;
    assert_like(&json!({"status": false, "details": api}), &example("node-status-api-down"), &[]);
    let full = live(&warden, "dead", "full", false, Some("port_closed")).await;
    assert_eq!(full["message"], "Process is not running");
    assert_eq!(kernel::state(wallet.pid()), Some('Z'), "it was to be a zombie all the while");

    wallet.reap();
    live(&warden, "dead", "pid", false, Some("process_gone")).await;
}

#[tokio::test]
async fn a_node_that_hangs_delays_no_other() {
    let (frozen, mut other) = (Wallet::start().await, Wallet::start().await);
    frozen.stop().await;
    // The hang lasts longer than the test waits for the other one.
    let config = WardenConfig::default()
        .set("nodes.api_timeout", "120s")
        .set("nodes.concurrency", 4)
        .node(node("frozen", frozen.port()))
        .node(node("other", other.port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "other", "up", None).await;
    other.kill();
    becomes(&warden, "other", "down", Some("port_closed")).await;
    // Never checked to the end: not working, and not called down either.
    becomes(&warden, "frozen", "unknown", None).await;
    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["working"]), (503, &json!(0)));
}

#[tokio::test]
async fn a_check_of_all_ends_in_time_and_fills_up_from_the_record() {
    let (frozen, fine) = (Wallet::start().await, Wallet::start().await);
    let config = WardenConfig::default()
        .set("nodes.api_timeout", "120s")
        .node(node("frozen", frozen.port()))
        .node(node("fine", fine.port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "frozen", "up", None).await;
    becomes(&warden, "fine", "up", None).await;
    frozen.stop().await;

    // An answer seen within the last second counts as live: the first run may still have one of the frozen node.
    let nodes = warden
        .until("/nodes/status?method=api", SOON * 3, |answer| {
            assert_eq!(answer.status, 200);
            let nodes = &answer.json["nodes"];
            (find(nodes, "frozen")["live"] == false).then(|| nodes.clone())
        })
        .await;
    assert_eq!(find(&nodes, "fine")["live"], true);
    assert_eq!(find(&nodes, "frozen")["state"], "up", "as it was recorded");
}
