//! Nodes against the real `monero-wallet-rpc` and `monerod`, and against servers that misbehave on purpose.

mod busy;
mod discover;
mod garbage;
mod healthy;
mod hung_daemon;
mod kinds;
mod pids;
mod placement;
mod registry;
mod secrets;

mod stopped;
mod taken;
mod tls;
mod verdicts;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Warden, WardenConfig};

/// Longer than any step takes on a busy machine; nothing that works waits for it.
pub const SOON: Duration = Duration::from_mins(1);

/// The keys of a node on loopback.
pub fn node(name: &str, port: u16) -> Value {
    json!({"name": name, "host": "127.0.0.1", "port": port})
}

/// The same with more keys.
pub fn node_with(name: &str, port: u16, more: Value) -> Value {
    let mut keys = node(name, port);
    let Value::Object(more) = more else { panic!("keys") };
    keys.as_object_mut().unwrap().extend(more);
    keys
}

/// A service that knows this node alone.
pub async fn watching(node: Value) -> Warden {
    Warden::start(WardenConfig::default().node(node)).await
}

/// A node as `/nodes/status` shows it; null if it is not in there.
pub async fn shown(warden: &Warden, name: &str) -> Value {
    let answer = warden.get("/nodes/status").await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    find(&answer.json["nodes"], name)
}

/// The member of a list with this name; null if there is none.
pub fn find(list: &Value, name: &str) -> Value {
    let mut nodes = list.as_array().expect("a list").iter();
    nodes.find(|node| node["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Waits until `/nodes/status` shows the node in this state with this reason.
pub async fn becomes(warden: &Warden, name: &str, state: &str, reason: Option<&str>) -> Value {
    becomes_within(warden, name, state, reason, SOON).await
}

/// The same with a deadline of its own.
pub async fn becomes_within(
    warden: &Warden,
    name: &str,
    state: &str,
    reason: Option<&str>,
    deadline: Duration,
) -> Value {
    warden
        .until("/nodes/status", deadline, |answer| {
            let node = find(&answer.json["nodes"], name);
            (node["state"] == state && node["reason"] == json!(reason)).then_some(node)
        })
        .await
}

/// A live check by one method, repeated until it is as wanted (an answer counts for a second).
pub async fn live(
    warden: &Warden,
    name: &str,
    method: &str,
    status: bool,
    reason: Option<&str>,
) -> Value {
    warden
        .until(&format!("/nodes/{name}/status?method={method}"), SOON, |answer| {
            assert_eq!(answer.status, 200, "{:#}", answer.json);
            assert_eq!(answer.json["details"]["method"], method);
            let seen = (&answer.json["status"], answer.json["details"].get("reason"));
            (seen == (&json!(status), reason.map(|word| json!(word)).as_ref()))
                .then(|| answer.json["details"].clone())
        })
        .await
}

/// The node of an answer, bare or in `data`.
pub fn data(answer: &Value) -> &Value {
    answer.get("data").unwrap_or(answer)
}
