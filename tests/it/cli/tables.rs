//! Tables for people: 80 columns, whatever is in them.

use serde_json::json;

use super::{COLUMNS, assert_code, stdout};
use crate::nodes::{becomes, node_with};
use crate::support::program::Program;
use crate::support::{Wallet, Warden, WardenConfig};

#[tokio::test]
async fn tables_fit_80_columns_and_obey_nobody() {
    let wallet = Wallet::start().await;
    let long = "n".repeat(128);
    let config = WardenConfig::default()
        .node(node_with("main", wallet.port(), json!({"pid": wallet.pid()})))
        .node(node_with(
            &long,
            65_535,
            json!({"title": "Ü".repeat(255), "daemon": "d".repeat(255)}),
        ));
    let warden = Warden::start(config).await;
    becomes(&warden, "main", "up", None).await;
    let job = Program::sleeper(warden.dir());
    let lock = json!({
        "mb_project_uuid": "3c56530e-ca31-4a7c-964f-e69be01f382a",
        "brz_project_id": 9_007_199_254_740_991_i64,
        "pid": job.pid(),
        "started_at": "2026-01-15 10:30:45",
        "started_timestamp": 1_736_937_045,
        "current_stage": format!("\u{1b}[2J{}", "Миграция страниц ".repeat(40)),
        "progress_percent": 40.48,
    });
    let name = "3c56530e-ca31-4a7c-964f-e69be01f382a-9007199254740991.lock";
    std::fs::write(warden.lock_dir().join(name), lock.to_string()).unwrap();
    warden
        .until("/migrations", crate::nodes::SOON, |answer| {
            (answer.json["count"] == 1).then_some(())
        })
        .await;

    for args in [
        &["status"][..],
        &["status", "main"],
        &["nodes", "list"],
        &["migrations", "list"],
        &["migrations", "show", "9007199254740991"],
        &["migrations", "check", "--dry-run"],
        &["instances"],
        &["migrate", "--status"],
    ] {
        let output = warden.cli(args);
        let code = output.status.code().unwrap();
        assert!(code <= 2, "{args:?}: {code}");
        let text = stdout(&output);
        assert!(!text.trim().is_empty(), "{args:?} shows nothing");
        for line in text.lines() {
            let width = line.chars().count();
            assert!(width <= COLUMNS, "{args:?}: {width} columns: {line}");
        }
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{args:?}: {text:?}");
    }
    let text = stdout(&warden.cli(&["status", "main"]));
    assert!(text.contains("main") && text.contains("up"), "{text}");
}

#[test]
fn nothing_to_show_is_said() {
    let warden = Warden::prepare(WardenConfig::default());
    assert_code(&warden.cli(&["migrate"]), 0);
    for args in [&["status"][..], &["nodes", "list"], &["migrations", "list"]] {
        let output = warden.cli(args);
        assert_code(&output, 0);
    }
}
