//! The routes of nodes over a state made by hand.

use std::sync::Arc;

use axum::http::Method;
use serde_json::json;

use super::testing::{World, example, node, same_shape, writable};
use crate::config::Settings;
use crate::domain::node::Node;
use crate::domain::verdict::State;

#[tokio::test]
async fn the_list_of_nodes_has_the_shape_of_the_example_and_a_mark() {
    let world = World::new(Settings::default()).await;
    let mut off = node(3, "off", State::Up);
    Arc::make_mut(&mut off.node).available = false;
    world.publish(vec![node(1, "main-node", State::Up), node(2, "spare", State::Down), off]);
    let list = world.get("/nodes/status").await;
    same_shape(&example!("nodes-status.json"), &list.json(), "nodes-status");
    let body = list.json();
    assert_eq!([&body["total"], &body["working"], &body["failed"]], [2, 1, 1]);
    let etag = list.header("etag").to_owned();
    let again = world.send(Method::GET, "/nodes/status", &[("if-none-match", &etag)], "").await;
    assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
    world.publish(vec![node(1, "main-node", State::Down)]);
    let other = world.send(Method::GET, "/nodes/status", &[("if-none-match", &etag)], "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_live_look_says_what_it_saw_and_wakes_nobody_else() {
    let world = World::new(Settings::default()).await;
    world.publish(vec![node(1, "main", State::Up), node(2, "spare", State::Down)]);
    let (a, b) =
        tokio::join!(world.get("/nodes/status?method=api"), world.get("/nodes/status?method=api"));
    for live in [a.json(), b.json()] {
        same_shape(&example!("nodes-status.json"), &live, "live");
        assert_eq!(live["working"], 0, "nothing listens on port 1");
        assert_eq!(live["nodes"][0]["live"], true);
        assert_eq!(live["nodes"][0]["reason"], "port_closed");
    }
    assert_eq!(world.get("/nodes/status").await.json()["working"], 1, "the record is untouched");
    let one = world.get("/nodes/main/status?method=api").await.json();
    same_shape(&example!("node-status-api-down.json"), &one, "down");
    let full = world.get("/nodes/1/status").await.json();
    assert_eq!(full["details"]["method"], "full");
    assert_eq!(full["status"], false);
    let refused = world.get("/nodes/main/status?method=foo").await;
    assert_eq!(refused.json()["detail"], example!("error-400.json")["detail"]);
    assert_eq!(world.get("/nodes/9/status").await.code(), "not_found");
}

#[tokio::test]
async fn the_registry_over_http() {
    let world = World::new(writable()).await;
    let body = json!({"name": "Узел 1", "port": 18082, "password": "s3cret", "title": "t"});
    let made = world.write(Method::POST, "/nodes", &body).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/nodes/1"));
    let data = &made.json()["data"];
    assert_eq!((&data["has_password"], &data["worked"]), (&json!(true), &json!(false)));
    assert!(!String::from_utf8_lossy(&made.bytes).contains("s3cret"));
    assert_eq!(world.write(Method::POST, "/nodes", &body).await.code(), "duplicate_name");
    let path = "/nodes/%D0%A3%D0%B7%D0%B5%D0%BB%201";
    let changed = world.write(Method::PATCH, path, &json!({"title": null, "port": 2})).await;
    assert_eq!(
        (&changed.json()["data"]["title"], &changed.json()["data"]["port"]),
        (&json!(null), &json!(2))
    );
    let gone = world.write(Method::DELETE, "/nodes/1", &json!({})).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["success"]), (200, &json!(true)));
    assert_eq!(world.write(Method::DELETE, "/nodes/1", &json!({})).await.code(), "not_found");
}

#[tokio::test]
async fn each_node_is_shown_where_it_belongs() {
    let world = World::new(writable()).await;
    let shown = |change: fn(&mut Node)| {
        let mut view = node(1, "a", State::Up);
        change(Arc::make_mut(&mut view.node));
        world.publish(vec![view]);
        async { world.get("/nodes/1").await.json()["data"]["instance"].clone() }
    };
    assert_eq!(shown(|node| node.host = "192.0.2.1".into()).await, "any");
    assert_eq!(shown(|_| {}).await, "host-1", "a loopback address is the first one's");
    let with_pid = shown(|node| (node.host, node.pid) = ("192.0.2.1".into(), Some(1))).await;
    assert_eq!(with_pid, "host-1", "so is a PID");
    assert_eq!(shown(|node| node.placement = Some("any".into())).await, "any");
    assert_eq!(shown(|node| node.placement = Some("host-2".into())).await, "host-2");
    let list = world.get("/nodes").await.json();
    assert_eq!(list["data"][0]["instance"], "host-2");
}

#[tokio::test]
async fn a_bad_field_is_named_and_a_password_is_not_repeated() {
    let world = World::new(writable()).await;
    for (field, value) in [
        ("port", json!("80")),
        ("port", json!(0)),
        ("port", json!(65536)),
        ("port", json!(null)),
        ("name", json!("a/b")),
        ("tls", json!("maybe")),
        ("available", json!("yes")),
        ("password", json!(["s3cret"])),
        ("pid", json!(-1)),
        ("host", json!("http://x")),
        ("instance", json!(7)),
        ("instance", json!("a/b")),
        ("instance", json!("")),
    ] {
        let mut body = json!({"name": "n", "port": 1});
        body[field] = value;
        let answer = world.write(Method::POST, "/nodes", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_field"),
            "{body}"
        );
        assert_eq!(answer.json()["field"], field);
        assert!(answer.json()["detail"].as_str().unwrap().starts_with(field));
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("s3cret"));
    }
    let unknown = world.write(Method::POST, "/nodes", &json!({"nmae": "n"})).await;
    assert_eq!(unknown.code(), "invalid_body");
    assert!(unknown.json()["detail"].as_str().unwrap().contains("'nmae'"));
}
