//! Several instances: one of them sends, and a loss is told as such.

use serde_json::json;

use super::{SOON, Switch, nothing_waits};
use crate::nodes::{becomes, node_with};
use crate::support::receiver::{Mood, Receiver};
use crate::support::{Engine, Warden, WardenConfig, eventually};

fn member(receiver: &Receiver, name: &str) -> WardenConfig {
    let config = WardenConfig::default();
    let config = config.set("instance.name", name).set("instance.heartbeat", "1s");
    receiver.told(config)
}

#[tokio::test]
async fn two_instances_send_each_alert_once() {
    if Engine::current() == Engine::Sqlite {
        return;
    }
    let receiver = Receiver::start(Mood::Takes);
    let database = Engine::current().fresh();
    let first = Warden::start_on(&database, member(&receiver, "host-1")).await;
    let second = Warden::start_on(&database, member(&receiver, "host-2")).await;
    let switch = Switch::start();
    for nth in 0..8 {
        let node = node_with(&format!("n{nth}"), switch.port, json!({"instance": "any"}));
        assert_eq!(first.post("/nodes", &node).await.status, 201);
    }
    for warden in [&first, &second] {
        becomes(warden, "n7", "up", None).await;
    }
    first.until("/nodes/status", SOON, |it| (it.json["working"] == 8).then_some(())).await;
    for fails in [true, false] {
        switch.fail(fails);
        eventually(SOON, || async {
            let told = receiver.told_so_far().len();
            if told >= if fails { 8 } else { 16 } { Ok(()) } else { Err(told.to_string()) }
        })
        .await;
    }
    nothing_waits(&first).await;
    let messages = receiver.seen();
    let alerts: usize = messages.iter().map(|it| it.told().len()).sum();
    assert_eq!(alerts, 16, "{messages:?}");
}

#[tokio::test]
async fn a_lost_instance_is_told_and_its_return() {
    if Engine::current() == Engine::Sqlite {
        return;
    }
    let receiver = Receiver::start(Mood::Takes);
    let database = Engine::current().fresh();
    let first = Warden::start_on(&database, member(&receiver, "host-1")).await;
    let mut second = Warden::start_on(&database, member(&receiver, "host-2")).await;
    first
        .until("/instances", SOON, |it| {
            let live = it.json["instances"].as_array()?.iter().filter(|it| it["state"] == "live");
            (live.count() == 2).then_some(())
        })
        .await;
    second.kill9();
    receiver.hears(SOON, &["instance_lost firing host-2"]).await;
    second.restart().await;
    let told = ["instance_lost firing host-2", "instance_lost resolved host-2"];
    receiver.hears(SOON, &told).await;
    nothing_waits(&first).await;
    assert_eq!(receiver.seen().len(), 2);
}
