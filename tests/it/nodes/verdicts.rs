//! Thresholds, what survives a restart, and when a verdict is too old to count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{SOON, becomes, find, node, shown, watching};
use crate::support::fake::{Manner, serve_by};
use crate::support::{Wallet, Warden, WardenConfig, db, eventually};

const OK: &str = r#"{"jsonrpc":"2.0","id":"0","result":{"version":65561,"release":false}}"#;

/// A server that echoes the request's id with a version, fails or hangs as told.
struct Switch {
    port: u16,
    failing: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    failures: Arc<AtomicUsize>,
}

impl Switch {
    fn start() -> Self {
        let failing = Arc::new(AtomicBool::new(false));
        let silent = Arc::new(AtomicBool::new(false));
        let failures = Arc::new(AtomicUsize::new(0));
        let (fails, mute, count) = (failing.clone(), silent.clone(), failures.clone());
        let port = serve_by(move |request| {
            // The empty request is the question how to accept the connection.
            if mute.load(Ordering::SeqCst) || request.is_empty() {
                Manner::Silent
            } else if fails.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
                Manner::answers("500 Internal Server Error", "{}")
            } else {
                Manner::answers("200 OK", &OK.replace("\"0\"", &id_of(request)))
            }
        });
        Self { port, failing, silent, failures }
    }
}

/// The `id` of a JSON-RPC request, as JSON text.
fn id_of(request: &str) -> String {
    let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str::<serde_json::Value>(body).unwrap_or_default()["id"].to_string()
}

#[tokio::test]
async fn failures_must_come_in_a_row_before_a_node_is_down() {
    let switch = Switch::start();
    let config = WardenConfig::default()
        .set("nodes.failure_threshold", 3)
        .set("nodes.success_threshold", 2)
        .node(node("patient", switch.port));
    let warden = Warden::start(config).await;
    becomes(&warden, "patient", "up", None).await;
    let events = db::events_of(warden.database(), "node").len();

    switch.failing.store(true, Ordering::SeqCst);
    // The record says why it is doubted before it is given up.
    warden
        .until("/nodes/status", SOON, |answer| {
            let node = find(&answer.json["nodes"], "patient");
            (node["state"] == "down").then_some(())
        })
        .await;
    let failures = switch.failures.load(Ordering::SeqCst);
    assert!(failures >= 3, "down after {failures} failures");
    // It is told from memory before it is recorded.
    eventually(SOON, || async {
        let now = db::events_of(warden.database(), "node").len();
        if now > events { Ok(()) } else { Err(format!("{now} events")) }
    })
    .await;
    assert_eq!(db::events_of(warden.database(), "node").len(), events + 1, "one flip, one event");

    switch.failing.store(false, Ordering::SeqCst);
    becomes(&warden, "patient", "up", None).await;
}

#[tokio::test]
async fn a_proof_of_death_needs_no_threshold() {
    let mut wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .set("nodes.failure_threshold", 1000)
        .set("nodes.method", "pid")
        .node(super::node_with("mortal", wallet.port(), json!({"pid": wallet.pid()})));
    let warden = Warden::start(config).await;
    becomes(&warden, "mortal", "up", None).await;
    wallet.kill();
    becomes(&warden, "mortal", "down", Some("process_gone")).await;
}

#[tokio::test]
async fn a_verdict_survives_a_restart() {
    let switch = Switch::start();
    let config =
        WardenConfig::default().set("nodes.api_timeout", "120s").node(node("n", switch.port));
    let mut warden = Warden::start(config).await;
    let before = becomes(&warden, "n", "up", None).await;
    // From here on no check comes to an end: what is shown after the restart is the record.
    switch.silent.store(true, Ordering::SeqCst);
    warden.kill9();
    warden.restart().await;
    let after = shown(&warden, "n").await;
    assert_eq!(after["state"], "up", "{after:#}");
    assert_eq!(after["since"], before["since"]);
    assert_eq!(after["live"], false);
    assert_eq!(warden.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_verdict_too_old_is_stale_and_does_not_count() {
    let switch = Switch::start();
    let config = WardenConfig::default()
        .set("nodes.connect_timeout", "200ms")
        .set("nodes.api_timeout", "5s")
        .node(node("old", switch.port));
    let mut warden = Warden::start(config).await;
    becomes(&warden, "old", "up", None).await;
    switch.silent.store(true, Ordering::SeqCst);
    warden.kill9();
    let killed = SystemTime::now();
    // W = 3 x 300 ms + 200 ms + 5 s (a pass takes no time here); the last heartbeat is older than the kill.
    eventually(SOON, || async {
        let age = killed.elapsed().unwrap_or_default();
        if age > Duration::from_millis(6500) { Ok(()) } else { Err(format!("{age:?} have passed")) }
    })
    .await;
    warden.restart().await;
    let seen = shown(&warden, "old").await;
    assert_eq!((&seen["state"], &seen["status"]), (&json!("stale"), &json!(false)), "{seen:#}");
    assert_eq!(warden.get("/health").await.status, 503);
    becomes(&warden, "old", "down", Some("api_timeout")).await;
}

#[tokio::test]
async fn a_node_never_checked_does_not_work() {
    let switch = Switch::start();
    switch.silent.store(true, Ordering::SeqCst);
    let config =
        WardenConfig::default().set("nodes.api_timeout", "120s").node(node("new", switch.port));
    let warden = Warden::start(config).await;
    let seen = shown(&warden, "new").await;
    assert_eq!((&seen["state"], &seen["status"]), (&json!("unknown"), &json!(false)));
    assert_eq!(seen["last_check"], serde_json::Value::Null);
    let health = warden.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!((&health.json["working"], &health.json["total"]), (&json!(0), &json!(1)));
    // Ready all the same: a snapshot is published, and the loops turn.
    assert_eq!(warden.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_live_check_that_differs_wakes_the_scheduled_one_and_writes_nothing_itself() {
    let mut wallet = Wallet::start().await;
    let config =
        WardenConfig::default().set("nodes.interval", "1h").node(node("slow", wallet.port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "slow", "up", None).await;
    wallet.kill();
    // The answer of the second before may be given again.
    warden
        .until("/nodes/slow/status?method=api", SOON, |live| {
            (live.json["status"] == false).then_some(())
        })
        .await;
    // An hour early.
    becomes(&warden, "slow", "down", Some("port_closed")).await;
    let events = db::events_of(warden.database(), "node");
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn enough_working_nodes_are_healthy() {
    let wallet = Wallet::start().await;
    let dead = crate::support::ports::free_port();
    let mut warden = watching(node("up", wallet.port())).await;
    assert_eq!(warden.post("/nodes", &node("dead", dead)).await.status, 201);
    becomes(&warden, "up", "up", None).await;
    becomes(&warden, "dead", "down", Some("port_closed")).await;
    let health = warden.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json, json!({"status": "degraded", "working": 1, "total": 2}));

    for (enough, code) in
        [(json!("50%"), 200), (json!("51 %"), 503), (json!(1), 200), (json!(2), 503)]
    {
        warden.reconfigure(|config| config.set("health.min_working", enough.clone()));
        warden.restart().await;
        becomes(&warden, "up", "up", None).await;
        becomes(&warden, "dead", "down", Some("port_closed")).await;
        assert_eq!(warden.get("/health").await.status, code, "{enough}");
    }
}
