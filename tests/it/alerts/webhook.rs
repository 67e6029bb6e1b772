//! The webhook: signed, tried again, never in the way.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{SOON, Switch, alerts_are, figure, nothing_waits, turns, waiting};
use crate::nodes::{becomes, node};
use crate::support::authority::authority;
use crate::support::nginx;
use crate::support::ports::HeldPort;
use crate::support::program::Program;
use crate::support::promtool::check_metrics;
use crate::support::receiver::{Mood, Receiver};
use crate::support::{Warden, WardenConfig, db, eventually};

const DOWN: &str = "node_down firing a";
const BACK: &str = "node_down resolved a";

#[tokio::test]
async fn a_node_that_dies_and_comes_back_is_told_once_each() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let config = receiver.told(WardenConfig::default()).node(node("a", switch.port));
    let warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    receiver.hears(SOON, &[DOWN]).await;
    let first = receiver.taken().remove(0);
    assert_eq!(first.json["summary"], "node 'a' down: http_status");
    let alert = &first.json["alerts"][0];
    assert_eq!(alert["subject"]["address"], format!("127.0.0.1:{}", switch.port));
    assert_eq!((&alert["state"], &alert["reason"]), (&"down".into(), &"http_status".into()));
    switch.fail(false);
    receiver.hears(SOON, &[DOWN, BACK]).await;
    nothing_waits(&warden).await;
    assert_eq!(receiver.seen().len(), 2, "each once");
    assert_eq!(alerts_are(&warden, "ok").await, "");
    assert_eq!(figure(&warden, "procwarden_alerts_sent_total{channel=\"webhook\"}").await, 2);
    let text = String::from_utf8(warden.get("/metrics").await.body).unwrap();
    check_metrics(&text);
    assert!(!text.contains("channel=\"mail\""), "only what is configured");
}

#[tokio::test]
async fn without_a_channel_nothing_is_kept() {
    let switch = Switch::start();
    let warden = Warden::start(WardenConfig::default().node(node("a", switch.port))).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    becomes(&warden, "a", "down", Some("http_status")).await;
    turns(&warden, 1).await;
    assert_eq!(waiting(&warden), 0);
    assert_eq!(alerts_are(&warden, "off").await, "");
}

#[tokio::test]
async fn one_that_dies_in_the_middle_gets_everything_once_it_is_back() {
    let (receiver, switch) = (Receiver::start(Mood::Dies), Switch::start());
    let config = receiver.told(WardenConfig::default()).node(node("a", switch.port));
    let warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    receiver.is_tried(SOON, 1).await;
    receiver.becomes(Mood::Away);
    // What turns meanwhile waits.
    switch.fail(false);
    becomes(&warden, "a", "up", None).await;
    let trouble = alerts_are(&warden, "failing").await;
    assert!(trouble.starts_with("webhook: ") && !trouble.contains("hunter2"), "{trouble}");
    receiver.becomes(Mood::Takes);
    receiver.hears(SOON, &[DOWN, BACK]).await;
    nothing_waits(&warden).await;
    let (tried, taken) = (receiver.seen().remove(0), receiver.taken().remove(0));
    assert_eq!(tried.delivery, taken.delivery, "a message keeps its name");
    assert_eq!(tried.text, taken.text, "and its words");
    assert!(!warden.log().contains("hunter2") && !warden.log().contains("webhook-secret"));
}

/// A real TLS server before the receiver; where it is.
fn behind_tls(dir: &Path, receiver: &Receiver) -> (Program, PathBuf, String) {
    let (known, key, certificate) = authority(dir, "127.0.0.1");
    let port = HeldPort::take().hand_over();
    let site = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};
         location / {{ proxy_http_version 1.1; proxy_pass http://127.0.0.1:{}; }} }}",
        certificate.display(),
        key.display(),
        receiver.port()
    );
    (nginx::site(dir, &site), known, format!("https://127.0.0.1:{port}/hook?key=hunter2"))
}

#[tokio::test]
async fn https_takes_a_certificate_that_this_machine_trusts_and_no_other() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let dir = TempDir::new().unwrap();
    let (nginx, known, url) = behind_tls(dir.path(), &receiver);
    let config = receiver.told(WardenConfig::default()).set("alerts.webhook_url", url);
    let mut warden = Warden::start(config.node(node("a", switch.port))).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    let trouble = alerts_are(&warden, "failing").await;
    assert!(trouble.contains("invalid peer certificate"), "{trouble}; {}", nginx.log());
    assert!(receiver.seen().is_empty(), "nothing was said to whom nobody knows");
    warden.stop().await;
    warden.reconfigure(|config| config.env("SSL_CERT_FILE", known.to_str().unwrap()));
    warden.restart().await;
    receiver.hears(SOON, &[DOWN]).await;
    nothing_waits(&warden).await;
}

/// The receiver's ways to refuse: each is tried again, told of, and keeps no check from being made.
async fn refuses(mood: Mood, said: &str) {
    let (receiver, switch) = (Receiver::start(mood), Switch::start());
    let other = Switch::start();
    let config = receiver.told(WardenConfig::default());
    let config = config.node(node("a", switch.port)).node(node("b", other.port));
    let warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    becomes(&warden, "b", "up", None).await;
    switch.fail(true);
    receiver.is_tried(SOON, 1).await;
    // While it hangs the checks go on: the other node turns, and is recorded.
    other.fail(true);
    becomes(&warden, "b", "down", Some("http_status")).await;
    turns(&warden, 2).await;
    other.fail(false);
    becomes(&warden, "b", "up", None).await;
    let trouble = alerts_are(&warden, "failing").await;
    assert!(trouble.contains(said), "{trouble}");
    receiver.is_tried(SOON, 2).await;
    let failures = "procwarden_alert_failures_total{channel=\"webhook\"}";
    assert!(figure(&warden, failures).await >= 1);
    assert!(figure(&warden, "procwarden_alerts_pending{channel=\"webhook\"}").await >= 1);
    assert!(receiver.taken().is_empty());
    receiver.becomes(Mood::Takes);
    let all = [DOWN, "node_down firing b", "node_down resolved b"];
    receiver.hears(SOON, &all).await;
    nothing_waits(&warden).await;
    assert_eq!(alerts_are(&warden, "ok").await, "");
}

#[tokio::test]
async fn one_that_hangs_holds_up_nothing() {
    refuses(Mood::Hangs, "no answer within 10 s").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    refuses(Mood::Answers("302 Found"), "answered 302; redirects are not followed").await;
}

#[tokio::test]
async fn one_that_fails_for_ever_is_tried_for_ever() {
    refuses(Mood::Answers("500 Internal Server Error"), "answered 500").await;
}

/// Killed at a place between the flip and the end of the sending: what was to be told is told by the next start.
async fn dies_at(point: &str, action: &str) {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let config = receiver.told(WardenConfig::default()).node(node("a", switch.port));
    let config = config.env("FAILPOINTS", &format!("{point}={action}"));
    let mut warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    let status = warden.wait_exit().await;
    assert_eq!(status.signal(), Some(9), "{point}: {status}; {}", warden.log());
    warden.reconfigure(|config| config.env("FAILPOINTS", ""));
    // It is ours for a minute, however it ended.
    db::execute(warden.database(), "UPDATE procwarden_outbox SET next_at = 0");
    warden.restart().await;
    receiver.hears(SOON, &[DOWN]).await;
    nothing_waits(&warden).await;
    let mut names: Vec<String> = receiver.seen().into_iter().map(|it| it.delivery).collect();
    names.dedup();
    assert_eq!(names.len(), 1, "what comes twice has the same name: {names:?}");
}

#[tokio::test]
async fn an_alert_survives_a_kill_before_it_is_sent() {
    dies_at("alert-taken", "return").await;
}

#[tokio::test]
async fn an_alert_survives_a_kill_before_it_is_struck_off() {
    dies_at("alert-sent", "return").await;
}

#[tokio::test]
async fn an_alert_survives_a_kill_while_it_waits_for_others() {
    let (receiver, switch) = (Receiver::start(Mood::Takes), Switch::start());
    let config = WardenConfig::default().set("alerts.group_wait", "3s");
    let config = receiver.told(config).node(node("a", switch.port));
    let mut warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    eventually(SOON, || async {
        if waiting(&warden) == 1 { Ok(()) } else { Err("nothing waits") }
    })
    .await;
    warden.kill9();
    assert!(receiver.seen().is_empty());
    warden.restart().await;
    receiver.hears(SOON, &[DOWN]).await;
}
