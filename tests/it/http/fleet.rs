//! Who answers for what, as an instance and the command line tell it.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::{Value, json};

use super::SOON;
use crate::nodes::{becomes, node};
use crate::support::{Wallet, Warden, WardenConfig};

const KEYS: [&str; 8] =
    ["name", "state", "version", "since", "last_beat", "nodes", "locks", "tick_ms"];

fn keys(row: &Value) -> BTreeSet<&str> {
    row.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The exit code, and all that was said.
fn ended(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn listed_by_command(warden: &Warden) -> Value {
    let (code, said) = ended(&warden.cli(&["instances", "--output", "json"]));
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn an_instance_lists_itself_and_what_it_answers_for() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .set("server.base_paths", json!(["/dashboard/api"]))
        .node(node("n", wallet.port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "n", "up", None).await;
    let listed = |json: &Value| {
        let row = json["instances"].get(0)?;
        (row["nodes"] == 1 && row["state"] == "live").then(|| row.clone())
    };
    for path in ["/instances", "/dashboard/api/instances"] {
        let row = warden.until(path, SOON, |answer| listed(&answer.json)).await;
        assert_eq!((&row["name"], &row["locks"]), (&json!("test-1"), &json!(0)));
        assert_eq!(row["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(keys(&row), KEYS.into());
    }
    let printed = listed_by_command(&warden);
    assert_eq!(keys(&printed["instances"][0]), KEYS.into(), "{printed:#}");
    assert_eq!(listed(&printed).map(|row| row["name"].clone()), Some(json!("test-1")));
    let shown = warden.get("/nodes/n").await.json["data"].clone();
    assert_eq!((&shown["owner"], &shown["instance"]), (&json!("test-1"), &json!("test-1")));
    let refused = warden.post("/instances", &json!({})).await;
    assert_eq!((refused.status, &refused.json["code"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn only_a_lost_instance_is_forgotten() {
    let mut warden = Warden::start(WardenConfig::default().node(node("n", 1))).await;
    let forget = |more: &[&str]| ended(&warden.cli(&[&["instances", "forget"], more].concat()));
    let (code, said) = forget(&["test-1"]);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("'test-1' is live"), "{said}");
    warden.stop().await;
    let forget = |more: &[&str]| ended(&warden.cli(&[&["instances", "forget"], more].concat()));
    assert_eq!(forget(&["test-1", "--move-to", "nobody"]).0, 64);
    assert_eq!(forget(&["nobody"]).0, 2);
    assert_eq!(forget(&["test-1"]), (0, "test-1 forgotten; 1 node released\n".to_owned()));
    assert_eq!(listed_by_command(&warden), json!({"instances": []}));
    // It comes back: what nobody answered for is its own again.
    warden.restart().await;
    becomes(&warden, "n", "down", Some("port_closed")).await;
}
