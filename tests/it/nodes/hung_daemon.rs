//! A wallet server whose daemon hangs: alive, listening, silent, idle.

use std::time::Duration;

use serde_json::json;

use super::{becomes, live, node_with};
use crate::support::monerod::Monerod;
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig};

/// Creating a wallet takes 3.5 to 8.4 s alone on the machine.
const CREATE: Duration = Duration::from_mins(2);
/// Auto-refresh comes every 20 s.
const REFRESH: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_daemon_that_hangs_makes_its_wallet_server_hang() {
    let monerod = Monerod::start().await;
    let options = WalletOptions { daemon: Some(monerod.port()), ..Default::default() };
    let wallet = Wallet::start_with(options).await;
    let params = json!({"filename": "w", "password": "", "language": "English"});
    let made = wallet.call("create_wallet", params, CREATE).await;
    assert!(made.get("error").is_none(), "{made:#}");

    let config = WardenConfig::default().set("nodes.api_timeout", "1s").node(node_with(
        "hung",
        wallet.port(),
        json!({"pid": wallet.pid()}),
    ));
    let warden = Warden::start(config).await;
    becomes(&warden, "hung", "up", None).await;
    monerod.stop();
    warden
        .until("/nodes/status", REFRESH, |answer| {
            let node = &answer.json["nodes"][0];
            (node["state"] == "down" && node["reason"] == "hung").then_some(())
        })
        .await;
    // Nothing is wrong with the process itself.
    live(&warden, "hung", "pid", true, None).await;
    live(&warden, "hung", "port", true, None).await;
    let full = live(&warden, "hung", "full", false, Some("hung")).await;
    assert_eq!(full["message"], "Port is occupied but API is not responding");
    monerod.cont();
    becomes(&warden, "hung", "up", None).await;
}
