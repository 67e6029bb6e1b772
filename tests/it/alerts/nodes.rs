//! What of nodes is told: many at once as one, nothing in a maintenance, and nothing harmful.

use serde_json::json;

use super::{SOON, Switch, nothing_waits, turns, waiting};
use crate::nodes::{becomes, node, node_with};
use crate::support::job::unix_now;
use crate::support::ports::free_port;
use crate::support::receiver::{Mood, Receiver};
use crate::support::{Warden, WardenConfig, eventually};

#[tokio::test]
async fn fifty_dead_nodes_are_one_message() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let config = WardenConfig::default().set("alerts.group_wait", "5s");
    let mut config = receiver.told(config);
    for nth in 0..50 {
        config = config.node(node(&format!("n{nth:02}"), switch.port));
    }
    let warden = Warden::start(config).await;
    warden.until("/nodes/status", SOON, |it| (it.json["working"] == 50).then_some(())).await;
    switch.fail(true);
    eventually(SOON, || async {
        let told = receiver.told_so_far().len();
        if told >= 50 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    nothing_waits(&warden).await;
    let messages = receiver.seen();
    assert_eq!(messages.len(), 1, "one message");
    assert_eq!(messages[0].json["summary"], "50 nodes down");
    assert_eq!(messages[0].json["alerts"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_maintenance_makes_no_alerts_and_its_end_tells_what_is_so() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let config = receiver.told(WardenConfig::default()).node(node("a", switch.port));
    let warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    let until = json!({"maintenance_until": "2099-01-31T18:00:00+01:00"});
    let answer = warden.patch("/nodes/a", &until).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    assert_eq!(answer.json["data"]["maintenance_until"], "2099-01-31T17:00:00+00:00");
    let bad = warden.patch("/nodes/a", &json!({"maintenance_until": "tomorrow"})).await;
    assert_eq!(bad.status, 400, "{:#}", bad.json);
    for (count, fails) in [(1, true), (2, false), (3, true)] {
        switch.fail(fails);
        turns(&warden, count).await;
    }
    becomes(&warden, "a", "down", Some("http_status")).await;
    assert_eq!((waiting(&warden), receiver.seen().len()), (0, 0));
    let set = warden.cli(&["nodes", "set", "a", "--clear", "maintenance_until"]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    receiver.hears(SOON, &["node_down firing a"]).await;
    // What was told before a maintenance and is over after it is told then.
    let soon = chrono::DateTime::from_timestamp(unix_now() + 5, 0).unwrap().to_rfc3339();
    let set = warden.cli(&["nodes", "set", "a", "--maintenance-until", &soon]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    switch.fail(false);
    becomes(&warden, "a", "up", None).await;
    receiver.hears(SOON, &["node_down firing a", "node_down resolved a"]).await;
    let shown = warden.get("/nodes/a").await.json;
    assert!(shown["data"]["maintenance_until"].is_string(), "{shown}");
}

#[tokio::test]
async fn what_was_down_before_there_were_alerts_is_told_when_there_are() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    switch.fail(true);
    let config = WardenConfig::default().node(node("a", switch.port));
    let mut warden = Warden::start(config).await;
    becomes(&warden, "a", "down", Some("http_status")).await;
    warden.stop().await;
    warden.reconfigure(|config| receiver.told(config));
    warden.restart().await;
    receiver.hears(SOON, &["node_down firing a"]).await;
    // A node that is disabled is not down any more.
    let answer = warden.patch("/nodes/a", &json!({"available": false})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    receiver.hears(SOON, &["node_down firing a", "node_down resolved a"]).await;
    let last = receiver.taken().pop().unwrap();
    assert_eq!(last.json["alerts"][0]["state"], "disabled");
}

#[tokio::test]
async fn the_end_of_a_node_that_is_deleted_while_it_is_down_is_told() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let config = receiver.told(WardenConfig::default());
    let warden = Warden::start(config.node(node("stays", switch.port))).await;
    becomes(&warden, "stays", "up", None).await;
    for name in ["over-http", "by-hand"] {
        let answer = warden.post("/nodes", &node(name, free_port())).await;
        assert_eq!(answer.status, 201, "{:#}", answer.json);
    }
    let fired = ["node_down firing by-hand", "node_down firing over-http"];
    receiver.hears(SOON, &fired).await;
    let answer = warden.delete("/nodes/over-http").await;
    assert_eq!(answer.status / 100, 2, "{:#}", answer.json);
    let gone = "node_down resolved over-http";
    receiver.hears(SOON, &[fired[0], fired[1], gone]).await;
    let last = receiver.taken().pop().unwrap();
    assert_eq!(last.json["summary"], "node 'over-http' deleted");
    assert_eq!(last.json["alerts"][0]["state"], "deleted");
    let removed = warden.cli(&["nodes", "remove", "by-hand"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    receiver.hears(SOON, &[fired[0], fired[1], gone, "node_down resolved by-hand"]).await;
    // What was never told to be down has no end to be told; the next message is about another thing.
    let answer = warden.post("/nodes", &node("fine", switch.port)).await;
    assert_eq!(answer.status, 201, "{:#}", answer.json);
    becomes(&warden, "fine", "up", None).await;
    assert_eq!(warden.delete("/nodes/fine").await.status / 100, 2);
    nothing_waits(&warden).await;
    assert_eq!(receiver.told_so_far().len(), 4);
}

#[tokio::test]
async fn hostile_names_and_titles_are_harmless() {
    let receiver = Receiver::start(Mood::Takes);
    let name = "<img src=x onerror=alert(1)> \"'\u{202e}gpj";
    let title = "т".repeat(255);
    let config = receiver.told(WardenConfig::default());
    let config = config.node(node_with(name, free_port(), json!({"title": title})));
    let _warden = Warden::start(config).await;
    let safe = "<img src=x onerror=alert(1)> \"'\\u{202e}gpj";
    receiver.hears(SOON, &[&format!("node_down firing {safe}")]).await;
    let message = receiver.taken().remove(0);
    let harmful = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!message.text.contains(harmful), "{}", message.text);
    assert_eq!(message.json["alerts"][0]["subject"]["title"], title);
    assert!(message.json["summary"].as_str().unwrap().contains("onerror"), "as text");
}
