//! Nodes as people edit them: routes, rules, and the configuration file.

use serde_json::{Value, json};

use super::{SOON, becomes, data, find, node, node_with, watching};
use crate::support::{Wallet, Warden, WardenConfig, eventually, kernel, ports};

#[tokio::test]
async fn nodes_are_made_changed_and_removed() {
    let wallet = Wallet::start().await;
    let warden = Warden::start(WardenConfig::default()).await;
    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["total"]), (200, &json!(0)), "no nodes is healthy");

    let made = warden
        .post("/nodes", &node_with("main", wallet.port(), json!({"title": "The main one"})))
        .await;
    assert_eq!(made.status, 201, "{:#}", made.json);
    let id = data(&made.json)["id"].as_i64().expect("an integer id");
    becomes(&warden, "main", "up", None).await;

    let by_id = warden.get(&format!("/nodes/{id}")).await;
    let by_name = warden.get("/nodes/main").await;
    assert_eq!((by_id.status, by_name.status), (200, 200));
    let shown = data(&by_name.json);
    assert_eq!(data(&by_id.json)["id"], shown["id"]);
    for (key, value) in [
        ("name", json!("main")),
        ("title", json!("The main one")),
        ("host", json!("127.0.0.1")),
        ("port", json!(wallet.port())),
        ("tls", json!("off")),
        ("pid", Value::Null),
        ("process_name", json!("monero-wallet-rpc")),
        ("available", json!(true)),
        ("instance", json!("test-1")),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert!(shown.get("password").is_none_or(|shown| !shown.is_string() || shown == "***"));

    let changed =
        warden.patch(&format!("/nodes/{id}"), &json!({"title": null, "name": "renamed"})).await;
    assert_eq!(changed.status, 200, "{:#}", changed.json);
    assert_eq!(warden.get("/nodes/main").await.status, 404);
    assert_eq!(data(&warden.get("/nodes/renamed").await.json)["title"], Value::Null);

    let removed = warden.delete("/nodes/renamed").await;
    assert!([200, 204].contains(&removed.status), "{}", removed.status);
    assert_eq!(warden.get(&format!("/nodes/{id}")).await.status, 404);
    assert_eq!(warden.delete("/nodes/renamed").await.status, 404);
    warden.until("/nodes/status", SOON, |answer| (answer.json["total"] == 0).then_some(())).await;

    // An id is never given twice, not even the last one.
    let next = warden.post("/nodes", &node("main", wallet.port())).await;
    assert!(data(&next.json)["id"].as_i64().unwrap() > id, "{:#}", next.json);
}

#[tokio::test]
async fn what_cannot_be_a_node_is_refused_with_the_name_of_what_is_wrong() {
    let warden = watching(node("taken", ports::free_port())).await;
    let duplicate = warden.post("/nodes", &node("taken", 18_082)).await;
    assert_eq!(duplicate.status, 409, "{:#}", duplicate.json);
    let other = warden.post("/nodes", &node("other", 18_082)).await;
    assert_eq!(other.status, 201);
    assert_eq!(warden.patch("/nodes/other", &json!({"name": "taken"})).await.status, 409);

    let long = "x".repeat(129);
    for name in ["", ".", "..", "status", "42", "a/b", " a", "a ", "a\nb", &long] {
        let answer = warden.post("/nodes", &node(name, 18_082)).await;
        assert_eq!(answer.status, 400, "{name:?}: {:#}", answer.json);
        assert!(answer.json["detail"].as_str().unwrap().contains("name"), "{:#}", answer.json);
    }
    for (key, value) in [
        ("port", json!(0)),
        ("port", json!(65_536)),
        ("port", json!("18082")),
        ("tls", json!("maybe")),
        ("host", json!("")),
        ("available", json!("yes")),
        ("instance", json!(7)),
        ("instance", json!("")),
        ("instance", json!("a/b")),
        ("no_such_key", json!(1)),
    ] {
        let answer =
            warden.post("/nodes", &node_with("fine", 18_082, json!({key: value.clone()}))).await;
        assert_eq!(answer.status, 400, "{key}={value}: {:#}", answer.json);
        assert!(answer.json["detail"].as_str().unwrap().contains(key), "{:#}", answer.json);
    }
    assert_eq!(warden.post("/nodes", &json!({"name": "no-port"})).await.status, 400);
    assert_eq!(warden.get("/nodes/fine").await.status, 404, "nothing of it was written");
    // Names are case-sensitive, and any other text is a name.
    for name in ["Taken", "Узел 1", "a:b?c#d%", "42a"] {
        assert_eq!(warden.post("/nodes", &node(name, 18_082)).await.status, 201, "{name}");
    }
    let path = format!("/nodes/{}", "%D0%A3%D0%B7%D0%B5%D0%BB%201");
    assert_eq!(data(&warden.get(&path).await.json)["name"], "Узел 1");
}

#[tokio::test]
async fn a_node_taken_out_is_neither_checked_nor_counted() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default().node(node("in", wallet.port())).node(node_with(
        "out",
        ports::free_port(),
        json!({"available": false}),
    ));
    let warden = Warden::start(config).await;
    becomes(&warden, "in", "up", None).await;
    let all = warden.get("/nodes/status").await.json;
    assert_eq!((&all["total"], &all["working"], &all["failed"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(find(&all["nodes"], "out"), Value::Null);
    let out = warden.get("/nodes/out").await.json;
    assert_eq!(data(&out)["state"], "disabled", "{out:#}");
    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["total"]), (200, &json!(1)));

    warden.patch("/nodes/in", &json!({"available": false})).await;
    warden.until("/nodes/status", SOON, |answer| (answer.json["total"] == 0).then_some(())).await;
    eventually(SOON, || async {
        match kernel::peers_of(warden.pid(), wallet.port()).as_slice() {
            [] => Ok(()),
            from => Err(format!("connections to a node that is out, from {from:?}")),
        }
    })
    .await;
    warden.patch("/nodes/in", &json!({"available": true})).await;
    becomes(&warden, "in", "up", None).await;
}

#[tokio::test]
async fn a_changed_node_is_asked_over_a_new_connection_at_its_new_place() {
    let (old, new) = (Wallet::start().await, Wallet::start().await);
    let warden = watching(node("moves", old.port())).await;
    becomes(&warden, "moves", "up", None).await;
    let connections = |wallet: &Wallet| kernel::peers_of(warden.pid(), wallet.port()).len();
    assert_eq!(connections(&old), 1);
    let answer = warden.patch("/nodes/moves", &json!({"port": new.port()})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    eventually(SOON, || async {
        match (connections(&old), connections(&new)) {
            (0, 1) => Ok(()),
            seen => Err(format!("connections old and new: {seen:?}")),
        }
    })
    .await;
    becomes(&warden, "moves", "up", None).await;
}

#[tokio::test]
async fn the_file_wins_except_for_availability() {
    let config = WardenConfig::default().node(node_with(
        "kept",
        18_082,
        json!({"title": "from the file", "available": true}),
    ));
    let mut warden = Warden::start(config).await;
    let id = data(&warden.get("/nodes/kept").await.json)["id"].clone();
    let changes =
        json!({"title": "by hand", "port": 18_083, "daemon": "10.0.0.1:18081", "available": false});
    assert_eq!(warden.patch("/nodes/kept", &changes).await.status, 200);
    warden.restart().await;

    let kept = warden.get("/nodes/kept").await.json;
    let kept = data(&kept);
    assert_eq!((&kept["title"], &kept["port"]), (&json!("from the file"), &json!(18_082)));
    assert_eq!(kept["daemon"], "10.0.0.1:18081", "a key that the file does not have");
    assert_eq!(kept["available"], false, "the operator's word");
    assert_eq!(kept["id"], id);
}

#[tokio::test]
async fn a_node_that_left_the_file_stays_unless_pruned_and_one_made_by_hand_stays_always() {
    let mut warden = watching(node("from-file", 18_082)).await;
    assert_eq!(warden.post("/nodes", &node("by-hand", 18_083)).await.status, 201);
    warden.reconfigure(|_| WardenConfig::default());
    warden.restart().await;
    assert_eq!(warden.get("/nodes/from-file").await.status, 200);

    warden.reconfigure(|config| config.set("nodes.prune", true));
    warden.restart().await;
    assert_eq!(warden.get("/nodes/from-file").await.status, 404);
    assert_eq!(warden.get("/nodes/by-hand").await.status, 200);
}
