//! A wallet server in a long call: its one RPC thread computes, and nobody is answered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{becomes, becomes_within, live, node_with};
use crate::support::{Wallet, Warden, WardenConfig};

/// A call takes 3 to 12 s alone on the machine.
const CALL: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_long_call_is_busy_and_counts_as_working_while_the_grace_lasts() {
    let wallet = Arc::new(Wallet::start().await);
    let config = |grace| {
        WardenConfig::default()
            .set("nodes.api_timeout", "900ms")
            .set("nodes.busy_grace", grace)
            .node(node_with("busy", wallet.port(), json!({"pid": wallet.pid()})))
    };
    let (patient, strict) = tokio::join!(Warden::start(config("10m")), Warden::start(config("0s")));
    becomes(&patient, "busy", "up", None).await;
    becomes(&strict, "busy", "up", None).await;

    let caller = wallet.clone();
    let calls = tokio::spawn(async move {
        loop {
            let answer = caller.call("open_wallet", json!({"filename": "none"}), CALL).await;
            assert!(answer.get("error").is_some(), "there is no such wallet: {answer:#}");
        }
    });
    becomes(&patient, "busy", "up", Some("busy")).await;
    becomes(&strict, "busy", "down", Some("busy")).await;
    let full = live(&patient, "busy", "full", true, Some("busy")).await;
    assert_eq!(full["message"], "Process is busy");
    assert_eq!(
        full["summary"],
        json!({"pid_alive": true, "port_in_use": true, "api_responding": false})
    );
    let told = full["checks"]["api"]["details"]["error"].as_str().unwrap().to_owned();
    let begin = format!("timed out after 900 ms, its process {} used ", wallet.pid());
    assert!(told.starts_with(&begin), "{told}");
    assert_eq!(patient.get("/health").await.status, 200);
    let full = live(&strict, "busy", "full", false, Some("busy")).await;
    assert_eq!(full["message"], "Port is occupied but API is not responding");

    calls.abort();
    assert!(calls.await.unwrap_err().is_cancelled(), "a call failed");
    for warden in [&patient, &strict] {
        // The server goes on with the call that nobody waits for.
        becomes_within(warden, "busy", "up", None, CALL).await;
    }
}
