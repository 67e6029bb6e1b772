//! Which instance answers for a node, by its operator's word.

use serde_json::{Value, json};

use super::{SOON, becomes, data, node, node_with};
use crate::support::{Wallet, Warden, WardenConfig, ports};

/// The first instance is the one that each node is registered with.
const HERE: &str = "test-1";

async fn shown(warden: &Warden, name: &str, instance: &str) {
    let path = format!("/nodes/{name}");
    warden
        .until(&path, SOON, |answer| (data(&answer.json)["instance"] == instance).then_some(()))
        .await;
    let list = warden.get("/nodes").await.json;
    let listed = data(&list).as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
    assert_eq!(listed["instance"], instance);
}

fn by_cli(warden: &Warden, args: &[&str]) -> Value {
    let output = warden.cli(&[&["nodes"], args, &["--output", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    data(&answer)["instance"].clone()
}

#[tokio::test]
async fn the_operators_word_is_kept_and_taken_back_and_resets_nothing() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default().node(node("main", wallet.port()));
    let mut warden = Warden::start(config).await;
    becomes(&warden, "main", "up", None).await;
    shown(&warden, "main", HERE).await;
    let since = data(&warden.get("/nodes/main").await.json)["since"].clone();

    let placed = warden.patch("/nodes/main", &json!({"instance": "any"})).await;
    assert_eq!(placed.status, 200, "{:#}", placed.json);
    let placed = data(&placed.json);
    assert_eq!((&placed["instance"], &placed["state"]), (&json!("any"), &json!("up")));
    assert_eq!(placed["since"], since, "nothing was reset");
    shown(&warden, "main", "any").await;
    warden.restart().await;
    shown(&warden, "main", "any").await;

    let back = warden.patch("/nodes/main", &json!({"instance": null})).await;
    assert_eq!(data(&back.json)["instance"], HERE);
    shown(&warden, "main", HERE).await;
}

#[tokio::test]
async fn every_way_in_takes_it() {
    let remote = json!({"host": "192.0.2.1", "instance": "host-9"});
    let config = WardenConfig::default().node(node_with("filed", ports::free_port(), remote));
    let warden = Warden::start(config).await;
    shown(&warden, "filed", "host-9").await;

    let body = node_with("posted", 1, json!({"host": "192.0.2.1", "pid": 1, "instance": "any"}));
    assert_eq!(warden.post("/nodes", &body).await.status, 201);
    shown(&warden, "posted", "any").await;

    let added = by_cli(&warden, &["add", "typed", "--port", "1", "--instance", "host-2"]);
    assert_eq!(added, "host-2");
    shown(&warden, "typed", "host-2").await;
    assert_eq!(by_cli(&warden, &["set", "typed", "--instance", "any"]), "any");
    assert_eq!(by_cli(&warden, &["set", "typed", "--clear", "instance"]), HERE);
    assert_eq!(by_cli(&warden, &["set", "typed", "--host", "192.0.2.1"]), "any", "no loopback");
    assert_eq!(by_cli(&warden, &["set", "typed", "--pid", "1"]), HERE, "a PID");
    shown(&warden, "typed", HERE).await;
}
