//! A server with the certificate that it makes for itself, X.509 v1 without a name in it, and with a proper one.

use serde_json::json;

use super::{becomes, live, node_with};
use crate::support::authority::authority;
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, kernel};

#[tokio::test]
async fn its_own_certificate_is_taken_only_when_told_so() {
    let options =
        WalletOptions { ssl: "enabled", login: Some("user:pass".to_owned()), ..Default::default() };
    let wallet = Wallet::start_with(options).await;
    let login = |tls: &str| json!({"tls": tls, "username": "user", "password": "pass"});
    let config = WardenConfig::default()
        .set("nodes.api_timeout", "5s")
        .node(node_with("insecure", wallet.port(), login("insecure")))
        .node(node_with("verify", wallet.port(), login("verify")))
        .node(node_with("plain", wallet.port(), login("off")));
    let warden = Warden::start(config).await;

    let up = live(&warden, "insecure", "api", true, None).await;
    assert!(up["url"].as_str().unwrap().starts_with("https://127.0.0.1:"), "{up:#}");
    becomes(&warden, "insecure", "up", None).await;
    becomes(&warden, "verify", "down", Some("tls")).await;
    // Plain HTTP to it: it closes without a word.
    becomes(&warden, "plain", "down", Some("io")).await;

    // The handshake costs its RSA key 10 ms: once, not at each check.
    warden.patch("/nodes/verify", &json!({"available": false})).await;
    warden.patch("/nodes/plain", &json!({"available": false})).await;
    let connections = super::shown(&warden, "insecure").await["last_check"].clone();
    warden
        .until("/nodes/status", super::SOON, |answer| {
            let node = super::find(&answer.json["nodes"], "insecure");
            let alone = kernel::peers_of(warden.pid(), wallet.port()).len() == 1;
            (alone && node["last_check"] != connections && node["state"] == "up").then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_certificate_of_a_known_authority_is_verified_for_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let (known, key, certificate) = authority(dir.path(), "127.0.0.1");
    let pair = Some((key, certificate));
    let wallet =
        Wallet::start_with(WalletOptions { ssl: "enabled", pair, ..Default::default() }).await;
    let tls = json!({"tls": "verify"});
    let config = WardenConfig::default()
        .env("SSL_CERT_FILE", known.to_str().unwrap())
        .node(node_with("right", wallet.port(), tls.clone()))
        .node(node_with("other", wallet.port(), json!({"tls": "verify", "host": "localhost"})));
    let warden = Warden::start(config).await;
    becomes(&warden, "right", "up", None).await;
    // The same server under a name that its certificate does not have.
    becomes(&warden, "other", "down", Some("tls")).await;
    // And where nobody knows the authority.
    let stranger = Warden::start(WardenConfig::default().node(node_with("n", wallet.port(), tls)));
    becomes(&stranger.await, "n", "down", Some("tls")).await;
}
