//! Several instances on one database: who checks what, who bears which name, and what each tells of the others.

mod cut;
mod forgetting;
mod host;
mod locks;
mod looks;
mod names;
mod placed;
mod race;
mod refused;
mod schema;
mod shares;
mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::{Warden, WardenConfig, db, eventually};

/// Longer than any step takes on a busy machine; nothing that works waits for it.
const SOON: Duration = Duration::from_mins(1);

/// How soon the others show what one recorded.
const SHOWN: Duration = Duration::from_secs(5);

/// An instance with short leases.
fn member(name: &str) -> WardenConfig {
    WardenConfig::default().set("instance.name", name).set("instance.heartbeat", "1s")
}

/// Waits until each of these knows that all of them are live: only then it can tell whose a row is.
async fn acquainted(wardens: &[&Warden]) {
    for warden in wardens {
        warden
            .until("/instances", SOON, |answer| {
                let rows = answer.json["instances"].as_array().unwrap();
                let live = rows.iter().filter(|row| row["state"] == "live").count();
                (live == wardens.len()).then_some(())
            })
            .await;
    }
}

/// The keys of a node that every instance can reach.
fn anywhere(name: &str, port: u16) -> Value {
    crate::nodes::node_with(name, port, json!({"instance": "any"}))
}

/// Registers nodes with this instance.
async fn register(warden: &Warden, nodes: impl IntoIterator<Item = Value>) {
    for node in nodes {
        let answer = warden.post("/nodes", &node).await;
        assert_eq!(answer.status, 201, "{:#}", answer.json);
    }
}

/// Who answers for each node, by the rows; an empty name is nobody's.
fn owners(database: &Database) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = db::nodes(database);
    nodes.iter().map(|node| (text(&node["name"]), text(&node["owner"]))).collect()
}

/// Waits until each of these instances has its part of the nodes that any can reach, as many as the others or one more.
async fn even(database: &Database, instances: &[&str]) {
    eventually(SOON, || async {
        let nodes = db::nodes(database);
        let shared = nodes.iter().filter(|node| node["placement"] == "any");
        let mut counts: BTreeMap<&str, usize> = instances.iter().map(|name| (*name, 0)).collect();
        for node in shared {
            *counts.entry(node["owner"].as_str().unwrap_or("nobody")).or_default() += 1;
        }
        let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        let good = counts.len() == instances.len() && most - least <= 1;
        if good { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

/// Waits until this instance tells of so many nodes in the whole fleet, all but `failed` of them working.
async fn tells(warden: &Warden, total: usize, failed: usize) {
    warden
        .until("/nodes/status", SOON, |answer| {
            let seen = (&answer.json["total"], &answer.json["failed"]);
            (seen == (&json!(total), &json!(failed))).then_some(())
        })
        .await;
}

/// Waits until this instance lists another one in this state.
async fn lists(warden: &Warden, name: &str, state: &str) {
    warden
        .until("/instances", SOON, |answer| {
            let one = crate::nodes::find(&answer.json["instances"], name);
            (one["state"] == state).then_some(())
        })
        .await;
}

/// `node state` of each committed event of nodes, with the instance that wrote it, in each one's order.
fn turns(database: &Database) -> Vec<(String, String)> {
    let events = db::events_of(database, "node");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    events
        .iter()
        .map(|event| {
            let turn = format!("{} {}", text(&event["name"]), text(&event["state"]));
            (turn, text(&event["instance"]))
        })
        .collect()
}

/// The exit code of a command, and all that was said.
fn ended(output: &std::process::Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}
