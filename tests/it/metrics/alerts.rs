//! A real Prometheus scrapes, and fires the shipped rules into a real Alertmanager.

use serde_json::Value;

use super::{SOON, deploy};
use crate::nodes::{becomes, node};
use crate::support::prometheus::Watcher;
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, eventually};

/// The alerts of this name that are active.
async fn active(alertmanager: &Watcher, name: &str) -> Result<Vec<Value>, String> {
    let all = alertmanager.try_get("/api/v2/alerts?active=true").await?;
    let all = all.as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|it| it["labels"]["alertname"] == name).collect())
}

#[tokio::test]
async fn a_node_that_is_killed_is_an_alert_until_it_is_back() {
    let mut wallet = Wallet::start().await;
    let port = wallet.port();
    let warden = Warden::start(WardenConfig::default().node(node("n", port))).await;
    becomes(&warden, "n", "up", None).await;
    let alertmanager = Watcher::alertmanager().await;
    let shipped = deploy("prometheus");
    let prometheus = Watcher::prometheus(&shipped, warden.port(), alertmanager.port()).await;
    eventually(SOON, || async {
        let answer = prometheus.try_get("/api/v1/query?query=procwarden_node_up").await?;
        let result = &answer["data"]["result"][0];
        if result["metric"]["node"] == "n" && result["value"][1] == "1" {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    let targets = prometheus.try_get("/api/v1/targets").await.unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["health"], "up", "{targets}");
    assert!(active(&alertmanager, "ProcwardenNodeDown").await.unwrap().is_empty());

    wallet.kill();
    let alert = eventually(SOON, || async {
        let alerts = active(&alertmanager, "ProcwardenNodeDown").await?;
        alerts.first().cloned().ok_or_else(|| "no alert".to_owned())
    })
    .await;
    let labels = &alert["labels"];
    assert_eq!(
        (labels["node"].as_str(), labels["severity"].as_str()),
        (Some("n"), Some("critical"))
    );
    assert_eq!(alert["annotations"]["summary"], "Node n is down");
    let text = alert["annotations"]["description"].as_str().unwrap();
    assert!(text.contains("process_gone") || text.contains("port_closed"), "{text}");

    let again = WalletOptions { port: Some(port), ..WalletOptions::default() };
    let _wallet = Wallet::start_with(again).await;
    eventually(SOON, || async {
        let alerts = active(&alertmanager, "ProcwardenNodeDown").await?;
        if alerts.is_empty() { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
}
