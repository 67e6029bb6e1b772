//! `migrations`: what is recorded, and what would be done, without doing it.

use std::fs;

use serde_json::json;

use super::{assert_code, json as parsed, stdout};
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, db};

const UUID: &str = "3c56530e-ca31-4a7c-964f-e69be01f382a";

#[test]
fn a_dry_run_explains_and_writes_nothing() {
    let warden = Warden::prepare(WardenConfig::default().set("migrations.grace", "1s"));
    assert_code(&warden.cli(&["migrate"]), 0);
    let mut job = Program::sleeper(warden.dir());
    let dead = job.pid();
    job.kill();
    let file = warden.lock_dir().join(format!("{UUID}-17.lock"));
    let lock = json!({
        "mb_project_uuid": UUID,
        "brz_project_id": 17,
        "pid": dead,
        "started_at": "2026-01-15 10:30:45",
        "started_timestamp": 1_736_937_045,
    });
    fs::write(&file, lock.to_string()).unwrap();
    let before = fs::read(&file).unwrap();

    let output = warden.cli(&["migrations", "check", "--dry-run"]);
    assert!(output.status.code().is_some_and(|code| code <= 2), "{}", stdout(&output));
    let text = stdout(&output);
    for word in ["17", "process_dead", "lock_age", "seen_dead_for"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    let explained =
        parsed(&warden.cli(&["migrations", "check", "17", "--dry-run", "--output", "json"]));
    assert!(explained.to_string().contains("process_dead"), "{explained:#}");
    // As the monitor will do it: a first sight and a second look make an error of an old lock.
    assert_eq!(explained["data"][0]["verdict"], "error", "{explained:#}");
    assert_eq!(explained["data"][0]["would"], json!(["set_error", "remove_lock"]));

    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(db::migrations(warden.database()).is_empty(), "nothing was recorded");
    assert_code(&warden.cli(&["migrations", "check"]), 64);
}

#[tokio::test]
async fn what_is_recorded_is_listed_without_a_server_too() {
    let mut warden = Warden::start(WardenConfig::default()).await;
    let job = Program::sleeper(warden.dir());
    let lock = json!({
        "mb_project_uuid": UUID, "brz_project_id": 17, "pid": job.pid(),
        "started_at": "2026-01-15 10:30:45", "started_timestamp": 1_736_937_045,
    });
    fs::write(warden.lock_dir().join(format!("{UUID}-17.lock")), lock.to_string()).unwrap();
    warden
        .until("/migrations/17", crate::nodes::SOON, |answer| {
            (answer.json["data"]["state"] == "alive").then_some(())
        })
        .await;
    warden.stop().await;
    // A server that watches no directory still shows what stands in the database.
    warden.reconfigure(|config| config.unset("migrations.lock_dir"));
    warden.restart().await;
    let shown = warden.get("/migrations").await;
    assert_eq!(shown.json["count"], 1, "{:#}", shown.json);
    assert_eq!(warden.get("/migrations/17").await.status, 200);
    warden.stop().await;
    let list = parsed(&warden.cli(&["migrations", "list", "--output", "json"]));
    assert_eq!(list["count"], 1, "{list:#}");
    assert_eq!(list["data"][0]["brz_project_id"], 17);
    let none =
        parsed(&warden.cli(&["migrations", "list", "--status", "error", "--output", "json"]));
    assert_eq!(none["count"], 0);
    assert_code(&warden.cli(&["migrations", "show", "17"]), 0);
    assert_code(&warden.cli(&["migrations", "show", "18"]), 2);
}
