//! `status --nagios`: codes, one line, figures.

use serde_json::json;

use super::stdout;
use crate::nodes::{node, node_with};
use crate::support::ports::free_port;
use crate::support::{Wallet, Warden, WardenConfig};

fn asked(warden: &Warden, nodes: &[&str]) -> (i32, String) {
    let words: Vec<&str> = ["status", "--nagios"].iter().chain(nodes).copied().collect();
    let output = warden.cli(&words);
    (output.status.code().unwrap(), stdout(&output))
}

#[tokio::test]
async fn a_plugin_says_what_works_in_one_line_with_figures() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .set("health.min_working", "1")
        .node(node("it's=up|x", wallet.port()))
        .node(node_with("off", free_port(), json!({"available": false})));
    let mut warden = Warden::start(config).await;
    let (code, text) = asked(&warden, &[]);
    let expected =
        "PROCWARDEN OK - 1 of 1 nodes work | working=1;;;0;1 down=0;;;0;1 unknown=0;;;0;1\n";
    assert_eq!((code, text.as_str()), (0, expected));
    let (code, text) = asked(&warden, &["it's=up|x"]);
    assert!(code == 0 && text.contains(" 'it''s_up/x'=0."), "{text}");
    let (code, text) = asked(&warden, &["off", "nobody"]);
    assert_eq!((code, text.lines().count()), (3, 3), "{text}");
    assert!(text.starts_with("PROCWARDEN UNKNOWN - 0 of 0 nodes work | "), "{text}");

    let closed = json!({"name": "closed", "port": free_port()});
    assert_eq!(warden.post("/nodes", &closed).await.status, 201);
    let (code, text) = asked(&warden, &[]);
    assert_eq!((code, text.lines().nth(1)), (1, Some("closed: down: API check failed")), "{text}");
    warden.reconfigure(|config| config.set("health.min_working", "100 %"));
    let (code, text) = asked(&warden, &["--all"]);
    assert!(code == 2 && text.starts_with("PROCWARDEN CRITICAL - 1 of 2 "), "{text}");
    warden.reconfigure(|config| config.set("health.min_working", "200 %"));
    let (code, text) = asked(&warden, &[]);
    assert_eq!((code, text.lines().count()), (3, 1), "{text}");
    assert!(text.contains("health.min_working"), "{text}");
}

#[test]
fn no_database_is_unknown() {
    let warden =
        Warden::prepare(WardenConfig::default().set("database.url", "sqlite:///nowhere/p.db"));
    let (code, text) = asked(&warden, &[]);
    assert!(code == 3 && text.starts_with("PROCWARDEN UNKNOWN - no database at "), "{text}");
}
