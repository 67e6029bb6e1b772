//! A live process whose lock shows no progress: stalled in its time, never an error, and back when the lock moves.

use serde_json::{Value, json};

use super::listener::Listener;
use super::told;
use crate::migrations::{KILLED, SOON, events, line, wait};
use crate::support::job::{Lock, unix_now};
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, eventually};

/// A lock whose runner tells its stage now.
fn moving(id: i64, pid: i32) -> Lock {
    Lock::new(id, pid).set("stage_updated_at", unix_now())
}

/// The next event of this state, on record or not.
async fn tells(listener: &mut Listener, kind: &str, state: &str) -> Value {
    loop {
        let data = listener.event().await.data;
        if data["kind"] == kind && data["state"] == state {
            return data;
        }
    }
}

#[tokio::test]
async fn a_lock_that_stands_still_stalls_without_a_tick_and_goes_on_when_it_moves() {
    let dir = tempfile::tempdir().unwrap();
    let job = Program::sleeper(dir.path());
    let config = told().set("migrations.stall_after", "3s");
    let warden = Warden::start(config).await;
    let mut listener = Listener::of(&warden, "/events").await;
    moving(1, job.pid()).write(&warden.lock_dir());
    let seen = tells(&mut listener, "observed", "stalled").await;
    assert_eq!((&seen["id"], &seen["reason"]), (&json!(1), &Value::Null));
    tells(&mut listener, "flip", "stalled").await;
    let row = wait(&warden, 1, "in_progress stalled - run1").await;
    let stood = row["stalled_since"].as_str().unwrap();
    let stood = chrono::DateTime::parse_from_rfc3339(stood).unwrap();
    let since = chrono::DateTime::parse_from_rfc3339(row["since"].as_str().unwrap()).unwrap();
    assert!((since - stood).num_seconds() >= 3, "{row}");
    let status = warden.get("/migrations/1/status").await.json;
    assert_eq!(status["data"]["stalled_since"], row["stalled_since"]);
    let process = warden.get("/migrations/1/process").await.json;
    let explain = process["data"]["explain"].as_array().unwrap();
    let stalled = explain.iter().find(|it| it["predicate"] == "stalled").unwrap();
    assert_eq!((&stalled["threshold"], &stalled["holds"]), (&json!("3s"), &json!(true)));
    assert_eq!(process["data"]["process"]["running"], true);

    let table = warden.cli(&["migrations", "list", "--state", "stalled"]).stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("in_progress") && table.contains("stalled"), "{table}");
    let shown = warden.cli(&["migrations", "show", "1", "--output", "json"]).stdout;
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["data"]["stalled_since"], row["stalled_since"], "by the record alone");

    let lock = moving(1, job.pid()).set("current_stage", "pages").write(&warden.lock_dir());
    tells(&mut listener, "flip", "alive").await;
    tells(&mut listener, "flip", "stalled").await;
    assert!(lock.exists());
    assert_eq!(events(&warden, 1), ["1:in_progress"; 3]);
}

#[tokio::test]
async fn calm_locks_stall_by_the_looks_alone_and_a_death_is_still_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let config = WardenConfig::default()
        .set("events.enabled", false)
        .set("migrations.stall_after", "5s")
        .set("migrations.grace", "1s");
    // Its mtime alone tells.
    let warden = Warden::start(config).await;
    let lock = Lock::new(1, job.pid());
    lock.write(&warden.lock_dir());
    wait(&warden, 1, "in_progress stalled - run1").await;
    let path = lock.set("current_stage", "pages").write(&warden.lock_dir());
    let turned = vec!["1:in_progress".to_owned(); 3];
    eventually(SOON, || async {
        let found = events(&warden, 1);
        if found == turned { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert!(path.exists());
    job.kill();
    wait(&warden, 1, &format!("error finished {KILLED} run1")).await;
    eventually(SOON, || async { if path.exists() { Err("it stands") } else { Ok(()) } }).await;
    let row = &warden.get("/migrations?brz_project_id=1").await.json["data"][0];
    assert_eq!(row.get("stalled_since"), None, "{}", line(row));
}
