//! The end of the service: drained, in time, with the right code.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use serde_json::json;

use super::SOON;
use crate::nodes::{becomes, node};
use crate::support::raw::{code, exchange_after};
use crate::support::{Wallet, Warden, WardenConfig};

#[tokio::test]
async fn a_term_is_announced_drained_and_clean() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default().set("server.drain", "3s").node(node("n", wallet.port()));
    let mut warden = Warden::start(config).await;
    becomes(&warden, "n", "up", None).await;
    assert_eq!(warden.get("/health").await.status, 200);
    warden.sigterm();
    // Still answering, but asking to be left alone.
    warden.until("/readyz", SOON, |answer| (answer.status == 503).then_some(())).await;
    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["status"]), (503, &json!("draining")));
    assert!(!health.header("retry-after").is_empty());
    assert_eq!(warden.get("/livez").await.status, 200);
    assert_eq!(warden.get("/nodes/status").await.status, 200, "reads go on while it drains");
    let status = warden.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{}", warden.log());
    // It comes back with what it knew.
    warden.launch();
    warden.ready().await;
    becomes(&warden, "n", "up", None).await;
}

#[tokio::test]
async fn an_interrupt_is_a_term() {
    let mut warden = Warden::start(WardenConfig::default()).await;
    warden.signal(Signal::INT);
    assert_eq!(warden.wait_exit().await.code(), Some(0), "{}", warden.log());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_not_cleanly() {
    let mut warden = Warden::start(WardenConfig::default().set("server.drain", "7s")).await;
    warden.sigterm();
    warden.until("/readyz", SOON, |answer| (answer.status == 503).then_some(())).await;
    // Until one of them is late enough to be another request; the drain alone would end it with 0.
    while warden.is_running() {
        warden.sigterm();
        tokio::task::yield_now().await;
    }
    let status = warden.wait_exit().await;
    assert!(status.code().is_some_and(|code| code != 0), "{status:?}: an exit code of its own");
    assert_eq!(status.signal(), None);
}

/// As `timeout` does it, which signals the process and then its whole group.
#[tokio::test]
async fn the_same_signal_twice_at_once_is_one_request() {
    let mut warden = Warden::start(WardenConfig::default()).await;
    warden.sigterm();
    warden.signal(Signal::INT);
    assert_eq!(warden.wait_exit().await.code(), Some(0), "{}", warden.log());
}

#[tokio::test]
async fn a_request_under_way_is_finished() {
    let wallet = Wallet::start().await;
    wallet.stop().await;
    let config = WardenConfig::default()
        .set("nodes.api_timeout", "3s")
        .set("nodes.interval", "1h")
        .node(node("n", wallet.port()));
    let mut warden = Warden::start(config).await;
    let port = warden.port();
    let (sent, was_sent) = tokio::sync::oneshot::channel();
    let under_way = tokio::task::spawn_blocking(move || {
        let request =
            "GET /nodes/n/status?method=api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        exchange_after(port, request, SOON, || sent.send(()).unwrap())
    });
    was_sent.await.unwrap();
    warden.sigterm();
    let answer = under_way.await.unwrap();
    assert_eq!(code(&answer), 200, "answered, not cut off: {answer}");
    assert_eq!(warden.wait_exit().await.code(), Some(0), "{}", warden.log());
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_ended_by_the_deadline() {
    // A check that lasts longer than any supervisor waits.
    let wallet = Wallet::start().await;
    wallet.stop().await;
    let config =
        WardenConfig::default().set("nodes.api_timeout", "300s").node(node("n", wallet.port()));
    let mut warden = Warden::start(config).await;
    warden.sigterm();
    // 8 s by the contract; `wait_exit` has room for a busy machine and still ends before the check would.
    let status = warden.wait_exit().await;
    assert_eq!(status.signal(), None, "by itself, not by a signal");
}
