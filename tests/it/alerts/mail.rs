//! Mails, through a real SMTP server.

use super::{SOON, Switch, alerts_are, figure, nothing_waits};
use crate::nodes::{becomes, node, node_with};
use crate::support::ports::free_port;
use crate::support::receiver::{Mood, Receiver};
use crate::support::smtp::{LOGIN, Smtp};
use crate::support::{Warden, WardenConfig};

/// A death and a return, as mails.
async fn arrives(how: &'static str, over: &str, user: &str) {
    let (smtp, switch) = (Smtp::start(how).await, Switch::start());
    let config = smtp.told(WardenConfig::default()).node(node("a", switch.port));
    let warden = Warden::start(config).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    let mails = smtp.gets(SOON, 1).await;
    let mail = &mails[0];
    assert_eq!((mail.over.as_str(), mail.user.as_str()), (over, user));
    assert_eq!(mail.to, "ops@example.org,second@example.org");
    assert!(mail.head.contains("Subject: [procwarden] node 'a' down: http_status"), "{mail:?}");
    assert!(mail.head.contains("Auto-Submitted: auto-generated"), "{mail:?}");
    assert!(mail.body.starts_with("1 node down:\n"), "{mail:?}");
    switch.fail(false);
    let mails = smtp.gets(SOON, 2).await;
    assert!(mails[1].head.contains("node 'a' no longer down"), "{mails:?}");
    nothing_waits(&warden).await;
    assert_eq!(smtp.mails().len(), 2, "each once");
    assert!(!warden.log().contains(LOGIN.1), "the password is in the log");
}

#[tokio::test]
async fn mails_go_over_starttls_with_a_login() {
    arrives("starttls", "tls", LOGIN.0).await;
}

#[tokio::test]
async fn mails_go_over_tls_with_a_login() {
    arrives("tls", "tls", LOGIN.0).await;
}

#[tokio::test]
async fn mails_go_in_clear_where_that_is_asked_for() {
    arrives("off", "clear", "-").await;
}

#[tokio::test]
async fn a_server_without_tls_gets_no_mail_unless_that_is_asked_for() {
    let (smtp, switch) = (Smtp::start("off").await, Switch::start());
    let config = smtp.told(WardenConfig::default()).set("alerts.smtp_tls", "starttls");
    let warden = Warden::start(config.node(node("a", switch.port))).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    let trouble = alerts_are(&warden, "failing").await;
    assert!(trouble.starts_with("mail: "), "{trouble}");
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn a_server_that_refuses_or_is_away_is_told_of_and_gets_everything_later() {
    let (mut smtp, switch) = (Smtp::prepare("off"), Switch::start());
    let receiver = Receiver::start(Mood::Takes);
    let config = receiver.told(smtp.told(WardenConfig::default()));
    let warden = Warden::start(config.node(node("a", switch.port))).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    // The other channel does not wait for it.
    receiver.hears(SOON, &["node_down firing a"]).await;
    let trouble = alerts_are(&warden, "failing").await;
    assert!(trouble.starts_with("mail: ") && trouble.contains("refused"), "{trouble}");
    assert!(figure(&warden, "procwarden_alert_failures_total{channel=\"mail\"}").await >= 1);
    smtp.launch().await;
    let mails = smtp.gets(SOON, 1).await;
    assert!(mails[0].head.contains("node 'a' down"), "{mails:?}");
    nothing_waits(&warden).await;
    assert_eq!(receiver.seen().len(), 1, "what one channel took is not sent there again");
}

#[tokio::test]
async fn a_wrong_password_is_told_of_and_not_repeated() {
    let (smtp, switch) = (Smtp::start("starttls").await, Switch::start());
    let config = smtp.told(WardenConfig::default()).set("alerts.smtp_password", "hunter2");
    let warden = Warden::start(config.node(node("a", switch.port))).await;
    becomes(&warden, "a", "up", None).await;
    switch.fail(true);
    let trouble = alerts_are(&warden, "failing").await;
    assert!(trouble.contains("535") || trouble.contains("uthentication"), "{trouble}");
    assert!(!trouble.contains("hunter2") && !warden.log().contains("hunter2"), "{trouble}");
}

#[tokio::test]
async fn nothing_of_others_gets_into_the_head_of_a_mail() {
    let smtp = Smtp::start("off").await;
    let name = "<b>x<b> \"'\u{202e}Bcc: thief@example.org";
    let title = "т\u{200b}".repeat(100);
    let node = node_with(name, free_port(), serde_json::json!({"title": title}));
    let _warden = Warden::start(smtp.told(WardenConfig::default()).node(node)).await;
    let mail = smtp.gets(SOON, 1).await.remove(0);
    assert_eq!(mail.to, "ops@example.org,second@example.org");
    assert!(mail.head.contains("Subject: [procwarden] node '<b>x<b> \"'\\u{202e}Bcc:"), "{mail:?}");
    assert!(!mail.head.contains("\nBcc"), "{mail:?}");
    assert!(!mail.body.contains(['\u{202e}', '\u{200b}', '\u{1b}']), "{mail:?}");
    assert!(mail.head.contains("Content-Type: text/plain"), "{mail:?}");
}

#[tokio::test]
async fn the_test_command_tries_every_channel_and_says_what_happened() {
    let smtp = Smtp::start("starttls").await;
    let receiver = Receiver::start(Mood::Takes);
    let off = Warden::prepare(WardenConfig::default()).cli(&["alerts", "test"]);
    assert_eq!(off.status.code(), Some(78), "{}", String::from_utf8_lossy(&off.stderr));
    let warden = Warden::prepare(receiver.told(smtp.told(WardenConfig::default())));
    let said = |args: &[&str]| {
        let output = warden.cli(args);
        let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (code, text) = said(&["alerts", "test"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("webhook: sent, answered 204\nmail: sent, answered 250"), "{text}");
    assert_eq!(receiver.seen()[0].json["alerts"][0]["kind"], "test");
    assert!(smtp.mails()[0].head.contains("test of the way of alerts"));
    receiver.becomes(Mood::Answers("500 Internal Server Error"));
    let (code, text) = said(&["alerts", "test", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["channels"][0]["said"]), (1, &"answered 500".into()), "{text}");
    assert_eq!(json["channels"][1]["sent"], true, "{text}");
    assert!(!text.contains("hunter2") && !text.contains(LOGIN.1), "{text}");
}
