//! The port is open, but it is not our node behind it.

use std::time::Duration;

use serde_json::json;

use super::{SOON, becomes, live, node, node_with};
use crate::support::fake::{Manner, serve};
use crate::support::monerod::Monerod;
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, kernel};

#[tokio::test]
async fn a_silent_listener_on_the_port_is_not_our_node() {
    let port = serve(Manner::Silent);
    let config =
        WardenConfig::default().set("nodes.api_timeout", "500ms").node(node("taken", port));
    let warden = Warden::start(config).await;
    becomes(&warden, "taken", "down", Some("api_timeout")).await;

    let details = live(&warden, "taken", "port", false, Some("port_taken")).await;
    assert_eq!(details["message"], "Port is in use");
    assert_eq!(details["listener"]["pid"], std::process::id());
    let full = live(&warden, "taken", "full", false, Some("api_timeout")).await;
    assert_eq!(full["message"], "Port is occupied but API is not responding");
    assert_eq!(full["summary"]["port_in_use"], true);
}

#[tokio::test]
async fn a_second_server_on_the_same_port_ends_and_the_first_stays_the_node() {
    let first = Wallet::start().await;
    let mut second =
        Wallet::launch(&WalletOptions { port: Some(first.port()), ..Default::default() });
    // For a second it lives beside an open port, which is not its own.
    let config = WardenConfig::default()
        .node(node_with("first", first.port(), json!({"pid": first.pid()})))
        .node(node_with("second", first.port(), json!({"pid": second.pid()})));
    let warden = Warden::start(config).await;
    let status = second.wait_exit(Duration::from_mins(1)).await;
    assert_eq!(status.code(), Some(1));

    live(&warden, "first", "full", true, None).await;
    // The PID given for the other is dead; the listener of its port is a wallet server, hence the node.
    let adopted = live(&warden, "second", "pid", true, Some("pid_adopted")).await;
    assert_eq!(adopted["pid"], first.pid());
    assert!(kernel::listens(first.pid(), first.port()));
}

#[tokio::test]
async fn a_daemon_on_the_wallets_port_is_the_wrong_service() {
    let monerod = Monerod::start().await;
    let config = WardenConfig::default().node(node("daemon", monerod.port())).node(node_with(
        "given",
        monerod.port(),
        json!({"pid": monerod.pid()}),
    ));
    let warden = Warden::start(config).await;
    becomes(&warden, "daemon", "down", Some("wrong_service")).await;
    let port = live(&warden, "daemon", "port", false, Some("port_taken")).await;
    assert_eq!(port["listener"]["program"], "monerod");
    let pid = live(&warden, "given", "pid", false, Some("wrong_process")).await;
    assert_eq!(pid["message"], "Process exists but not monero-wallet-rpc");
    assert_eq!(pid["is_monero_process"], false);
    // Nothing of it hangs: the whole answer came.
    tokio::time::timeout(SOON, warden.get("/nodes/daemon/status")).await.unwrap();
}
