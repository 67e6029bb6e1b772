//! Two instances whose database stands still for longer than their leases: nobody takes the other for lost.

use std::time::Duration;

use serde_json::{Value, json};

use super::SOON;
use super::own::Own;
use super::scene;
use super::switch::Switch;
use crate::support::database::Database;
use crate::support::{Answer, Warden, WardenConfig, db, eventually};

fn member(url: &str, name: &str) -> WardenConfig {
    scene::config(url).set("instance.name", name).set("instance.heartbeat", "1s")
}

#[tokio::test]
async fn after_an_outage_nobody_is_lost() {
    let Some(server) = Own::start() else { return };
    let mut nodes = Vec::new();
    for name in ["one", "two", "three", "four"] {
        nodes.push(Switch::up(name).await);
    }
    let shared = |mut keys: Value| {
        keys["instance"] = json!("any");
        keys
    };
    let config =
        nodes.iter().fold(member(&server.url(), "a"), |it, node| it.node(shared(node.keys())));
    let a = Warden::start(config).await;
    let b = Warden::start(member(&server.url(), "b")).await;
    let database = Database::at(server.url());
    // Each has its part, and each has watched the other for longer than a lease.
    eventually(SOON, || async {
        let owners = owners(&database);
        let count = |name: &str| owners.iter().filter(|it| it["owner"] == name).count();
        if (count("a"), count("b")) == (2, 2) { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await;
    beats(&database, 4).await;
    let before = owners(&database);
    server.freeze();
    for warden in [&a, &b] {
        let away = |answer: &Answer| (answer.status == 503).then_some(());
        warden.until("/readyz?require=database", SOON, away).await;
    }
    // A lease is two and a half heartbeats.
    let frozen = std::time::Instant::now();
    while frozen.elapsed() < Duration::from_secs(4) {
        for warden in [&a, &b] {
            assert_eq!(warden.get("/health").await.status, 200, "{}", warden.log());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.thaw();
    beats(&database, 5).await;
    assert_eq!(owners(&database), before);
    let events = db::events(&database);
    assert!(events.is_empty(), "{events:?}");
    for warden in [&a, &b] {
        let log = warden.log();
        assert!(!log.contains("instance_lost"), "{log}");
        let whole =
            |answer: &Answer| (answer.json["working"] == 4 && answer.status == 200).then_some(());
        warden.until("/health?scope=fleet", SOON, whole).await;
    }
}

fn owners(database: &Database) -> Vec<Value> {
    db::query(
        database,
        "SELECT name, owner, owner_epoch, state FROM procwarden_nodes ORDER BY name",
    )
}

/// Waits until each instance has written so many heartbeats more.
async fn beats(database: &Database, count: usize) {
    let beats =
        || db::query(database, "SELECT name, last_beat FROM procwarden_instances ORDER BY name");
    for _ in 0..count {
        let before = beats();
        eventually(SOON, || async {
            let now = beats();
            let all = now.len() == 2 && now.iter().zip(&before).all(|(now, before)| now != before);
            if all { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    }
}
