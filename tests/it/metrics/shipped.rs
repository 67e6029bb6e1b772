//! What is shipped for Prometheus and Grafana: it is well-formed, and speaks of figures that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use super::deploy;
use crate::nodes::node;
use crate::support::promtool::{content, promtool};
use crate::support::{Wallet, Warden, WardenConfig};

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap()
}

#[test]
fn promtool_is_content_with_the_rules_and_each_fires_when_it_shall() {
    let prometheus = deploy("prometheus");
    content(&promtool(&["check", "rules", "procwarden.rules.yml"], "", &prometheus));
    content(&promtool(&["check", "config", "prometheus.yml"], "", &prometheus));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/prometheus");
    content(&promtool(&["test", "rules", "rules_test.yml"], "", &tests));
    let tested = fs::read_to_string(tests.join("rules_test.yml")).unwrap();
    for line in read("prometheus/procwarden.rules.yml").lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            let fires = format!("alertname: {name}\n        exp_alerts:");
            assert!(tested.contains(&fires), "{name} is not tested");
        }
    }
}

/// Every text of a query of the dashboard.
fn queries(of: &Value, found: &mut Vec<String>) {
    match of {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().filter(|_| key == "expr") {
                    Some(text) => found.push(text.to_owned()),
                    None => queries(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|it| queries(it, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_is_made_of_queries_that_prometheus_reads() {
    let dashboard: Value = serde_json::from_str(&read("grafana/procwarden.json")).unwrap();
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    let rules: Vec<Value> = found
        .iter()
        .map(|it| it.replace("$__rate_interval", "5m"))
        .map(|expr| serde_json::json!({"record": "x:y", "expr": expr}))
        .enumerate()
        .map(|(number, mut rule)| {
            rule["labels"] = serde_json::json!({"number": number.to_string()});
            rule
        })
        .collect();
    let dir = tempfile::TempDir::new().unwrap();
    // JSON is YAML.
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(dir.path().join("rules.yml"), groups.to_string()).unwrap();
    content(&promtool(&["check", "rules", "rules.yml"], "", dir.path()));
}

#[tokio::test]
async fn rules_and_dashboard_speak_of_figures_that_there_are() {
    let wallet = Wallet::start().await;
    let warden = Warden::start(WardenConfig::default().node(node("n", wallet.port()))).await;
    crate::nodes::becomes(&warden, "n", "up", None).await;
    let answer = warden.send(warden.request(Method::GET, "/metrics")).await;
    let text = String::from_utf8(answer.body).unwrap();
    let known: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let shipped = read("prometheus/procwarden.rules.yml") + &read("grafana/procwarden.json");
    let named: BTreeSet<&str> = shipped
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| {
            word.starts_with("procwarden_")
                || word.starts_with("process_") && word.matches('_').count() > 1
        })
        .collect();
    assert!(named.len() > 15, "{named:?}");
    let strange: Vec<_> = named.difference(&known).collect();
    assert!(strange.is_empty(), "{strange:?} are not at /metrics");
}
