//! Migrations whose rows stand in the migration dashboard's table.

use std::fs;

use serde_json::{Value, json};

use crate::migrations::{SOON, events, gone, shown, source, wait};
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::theirs::{self, Table, changed};
use crate::support::{Warden, WardenConfig, eventually};

/// In write mode on their table.
fn writing(table: Table) -> WardenConfig {
    adopting(table).set("adopt.mode", "write")
}

fn adopting(table: Table) -> WardenConfig {
    WardenConfig::default()
        .set("migrations.grace", "600s")
        .set("adopt.mode", "shadow")
        .set("adopt.migrations", table.name())
}

/// A database with their table and a row of it.
fn with_row(table: Table, id: i64, changes: &Value) -> Database {
    let database = Engine::current().fresh();
    table.create(&database);
    add(&database, id, changes);
    database
}

fn add(database: &Database, id: i64, changes: &Value) {
    let row = json!({
        "brz_project_id": id, "mb_project_uuid": job::uuid(id), "changes_json": changes,
        "created_at": "2025-01-15 10:30:45", "updated_at": "2025-01-15 10:33:10",
    });
    Table::Mapping.insert(database, &row);
}

fn text_of(database: &Database, id: i64) -> String {
    let rows = Table::Mapping.rows(database);
    let row = rows.iter().find(|row| row["brz_project_id"] == id).expect("their row");
    row["changes_json"].as_str().unwrap_or("NULL").to_owned()
}

/// Their JSON of a migration.
fn theirs(database: &Database, id: i64) -> Value {
    serde_json::from_str(&text_of(database, id)).unwrap()
}

/// What the report says now, as `code theirs`.
async fn report(warden: &Warden, id: i64) -> Vec<String> {
    let answer = warden.get("/adopt/report").await;
    let about = format!("migration:{}-{id}", job::uuid(id));
    let findings = answer.json["findings"].as_array().expect("a list");
    let open =
        findings.iter().filter(|it| it["subject"] == about.as_str() && it["until"].is_null());
    open.map(|it| format!("{} {}", it["code"].as_str().unwrap(), it["theirs"].as_str().unwrap()))
        .collect()
}

async fn reported(warden: &Warden, id: i64, expected: &str) {
    eventually(SOON, || async {
        let found = report(warden, id).await;
        if found.iter().any(|it| it == expected) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn our_error_is_written_over_in_progress_and_then_the_lock_goes() {
    let changes = json!({"status": "in_progress", "wave": 7, "url": "https://example.org/а"});
    let database = with_row(Table::Mapping, 1, &changes);
    let before = Table::Mapping.rows(&database);
    let warden = Warden::start_on(&database, writing(Table::Mapping)).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    let after = Table::Mapping.rows(&database);
    assert_eq!(changed(&before, &after), ["0.changes_json"]);
    let text = text_of(&database, 1);
    assert!(text.contains("\"url\":\"https://example.org/а\""), "UTF-8, not codes: {text}");
    let json = theirs(&database, 1);
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["status", "wave", "url", "error", "status_updated_at", "monitor_updated"]);
    assert_eq!((&json["status"], &json["wave"]), (&json!("error"), &json!(7)));
    assert!(json["error"].as_str().unwrap().contains(&dead.to_string()), "{json}");
    assert_eq!(json["monitor_updated"], true);
    assert_eq!(
        (source(&warden, 1).as_str(), events(&warden, 1)),
        ("monitor", vec!["1:error".to_owned()])
    );
    assert_eq!(report(&warden, 1).await, [""; 0]);
}

#[tokio::test]
async fn a_status_in_columns_of_its_own() {
    let database = Engine::current().fresh();
    Table::Migrations.create(&database);
    let row =
        json!({"brz_project_id": 1, "mb_project_uuid": job::uuid(1), "status": "in_progress"});
    Table::Migrations.insert(&database, &row);
    let other =
        json!({"brz_project_id": 1, "mb_project_uuid": job::uuid(2), "status": "in_progress"});
    Table::Migrations.insert(&database, &other);
    let before = Table::Migrations.rows(&database);
    let warden = Warden::start_on(&database, writing(Table::Migrations)).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    gone(&path).await;
    let after = Table::Migrations.rows(&database);
    assert_eq!(changed(&before, &after), ["0.status", "0.error"], "the other uuid's row stays");
    assert_eq!(after[0]["status"], "error");
    assert!(after[0]["error"].as_str().unwrap().contains(&dead.to_string()));
}

#[tokio::test]
async fn a_final_status_of_theirs_wins_and_lets_the_lock_go() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "in_progress"}));
    let warden = Warden::start_on(&database, writing(Table::Mapping)).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    // The runner says how it went, and dies without removing its lock.
    Table::Mapping.update(
        &database,
        &json!({"changes_json": {"status": "success"}}),
        "brz_project_id = 1",
    );
    wait(&warden, 1, "success finished - run1").await;
    assert_eq!(source(&warden, 1), "adopted");
    let before = Table::Mapping.rows(&database);
    job.kill();
    gone(&path).await;
    assert_eq!(changed(&before, &Table::Mapping.rows(&database)), [""; 0]);
    assert_eq!(events(&warden, 1), ["1:success"]);
}

#[tokio::test]
async fn a_final_status_of_the_run_before_says_nothing_of_one_that_goes_on() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "error", "error": "last week"}));
    let warden = Warden::start_on(&database, writing(Table::Mapping)).await;
    wait(&warden, 1, "error finished - run1").await;
    assert_eq!(source(&warden, 1), "adopted");
    assert!(events(&warden, 1).is_empty(), "what was recorded before we came is no news");
    let row = warden.get("/migrations/1").await;
    assert_eq!(row.json["data"]["mapping"]["created_at"], "2025-01-15T10:30:45+00:00");
    // Seen half-written, it is nobody's yet.
    let path = warden.lock_dir().join(job::file_name(1));
    fs::write(&path, "").unwrap();
    ticks_pass_on(&warden, &database).await;
    assert_eq!(shown(&warden, 1).await, "error finished - run1");
    assert_eq!(crate::migrations::row(&warden, 1)["lock_file"], Value::Null);
    let mut job = Program::sleeper(warden.dir());
    // It says that it began before their word was read: their clocks and ours need not agree.
    Lock::new(1, job.pid()).started_ago(60).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run2").await;
    ticks_pass_on(&warden, &database).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run2");
    // It sets its status, then dies.
    Table::Mapping.update(
        &database,
        &json!({"changes_json": {"status": "in_progress"}}),
        "brz_project_id = 1",
    );
    // Read after the death was seen, it could be about another run that is to begin.
    eventually(SOON, || async {
        let known = crate::migrations::row(&warden, 1)["their_status"].clone();
        if known == "in_progress" { Ok(()) } else { Err(known) }
    })
    .await;
    job.kill();
    Lock::new(1, job.pid()).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone|killed run2").await;
    gone(&path).await;
    assert_eq!(theirs(&database, 1)["status"], "error");
    assert_ne!(theirs(&database, 1)["error"], "last week");
}

#[tokio::test]
async fn a_lock_that_goes_ends_the_run_with_their_word() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "in_progress"}));
    let warden = Warden::start_on(&database, writing(Table::Mapping)).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    Table::Mapping.update(
        &database,
        &json!({"changes_json": {"status": "error", "error": "no pages"}}),
        "1 = 1",
    );
    std::fs::remove_file(path).unwrap();
    job.kill();
    wait(&warden, 1, "error finished - run1").await;
    assert_eq!(source(&warden, 1), "adopted");
    let shown = warden.get("/migrations/1").await;
    assert_eq!(shown.json["data"]["mapping"]["changes_json"]["error"], "no pages");
}

#[tokio::test]
async fn every_row_of_theirs_is_shown_and_followed() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "pending"}));
    add(&database, 2, &json!({"status": "completed"}));
    add(&database, 3, &Value::Null);
    add(&database, 4, &json!({"status": "in_progress"}));
    let warden = Warden::start_on(&database, writing(Table::Mapping)).await;
    wait(&warden, 1, "pending unknown - run1").await;
    wait(&warden, 2, "completed finished - run1").await;
    wait(&warden, 3, "pending unknown - run1").await;
    wait(&warden, 4, "in_progress unknown - run1").await;
    ticks_pass_on(&warden, &database).await;
    assert_eq!(shown(&warden, 4).await, "in_progress unknown - run1", "nobody saw a lock of it");
    // Set back by the dashboard, then begun: the next lock is another run.
    Table::Mapping.update(
        &database,
        &json!({"changes_json": {"status": "pending"}}),
        "brz_project_id = 2",
    );
    wait(&warden, 2, "pending unknown - run1").await;
    let job = Program::sleeper(warden.dir());
    Lock::new(2, job.pid()).write(&warden.lock_dir());
    wait(&warden, 2, "in_progress alive - run2").await;
    assert_eq!(report(&warden, 3).await, [""; 0], "nothing is to be written there");
    crate::support::db::execute(
        &database,
        "DELETE FROM migrations_mapping WHERE brz_project_id = 1",
    );
    warden
        .until("/migrations?brz_project_id=1", SOON, |it| (it.json["count"] == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_row_that_cannot_be_understood_is_reported_and_not_written() {
    let cut = r#"{"status":"in_progress","error":"a text that was cut o"#;
    let cases = [
        (1, json!(cut), "row_unreadable not_json"),
        (2, json!([1]), "row_unreadable not_an_object"),
        (3, Value::Null, "row_unreadable empty"),
        (4, json!(""), "row_unreadable empty"),
        (5, json!({"wave": 1}), "row_unreadable no_status"),
        (6, json!({"status": "running"}), "row_unreadable unknown_status"),
        (7, json!({"status": "pending"}), "not_in_progress pending"),
    ];
    let database = with_row(Table::Mapping, 100, &json!({"status": "in_progress"}));
    for (id, changes, _) in &cases {
        add(&database, *id, changes);
    }
    // One that is full to its width, two rows for one key, and none.
    let full = json!({"status": "in_progress", "k": "x".repeat(255 - 31)});
    add(&database, 8, &full);
    add(&database, 9, &json!({"status": "in_progress"}));
    add(&database, 9, &json!({"status": "in_progress", "again": true}));
    let before = Table::Mapping.rows(&database);
    let mut warden = Warden::prepare_on(&database, writing(Table::Mapping));
    let dead = job::dead_pid(warden.dir());
    let locks: Vec<_> =
        (1..=10).map(|id| Lock::new(id, dead).ago(9000).write(&warden.lock_dir())).collect();
    warden.launch();
    warden.ready().await;
    for (id, _, expected) in &cases {
        wait(&warden, *id, "error finished process_gone run1").await;
        reported(&warden, *id, expected).await;
    }
    reported(&warden, 9, "row_unreadable several_rows").await;
    reported(&warden, 10, "no_row no row").await;
    ticks_pass_on(&warden, &database).await;
    let after = Table::Mapping.rows(&database);
    let others = |rows: &[Value]| -> Vec<Value> {
        let its = rows.iter().filter(|row| !is_helper(row) && row["brz_project_id"] != 8);
        let mut its: Vec<Value> = its.cloned().collect();
        // Two rows have one key, and no order.
        its.sort_by_key(ToString::to_string);
        its
    };
    assert_eq!(others(&after), others(&before));
    let full = theirs(&database, 8);
    assert_eq!((&full["status"], full["k"].as_str().unwrap().len()), (&json!("error"), 255 - 31));
    gone(&locks[7]).await;
    let left = || locks.iter().enumerate().filter(|(at, _)| *at != 7);
    assert!(left().all(|(_, path)| path.exists()), "the lock goes only once their row is final");
    let process = warden.get("/migrations/1/process").await.json;
    let explained = process["data"]["explain"].as_array().unwrap();
    let gate = explained.iter().find(|it| it["predicate"] == "their_row_final").unwrap();
    assert_eq!((&gate["value"], &gate["holds"]), (&json!("not_json"), &json!(false)));
    assert_eq!(process["data"]["would"], json!([]), "it is left");
    let output = warden.cli(&["adopt", "report"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("row_unreadable") && text.contains("no_row"), "{text}");
    // Mended: the error is written and the lock goes.
    let mended = json!({"changes_json": {"status": "in_progress"}});
    Table::Mapping.update(&database, &mended, "brz_project_id = 1");
    gone(&locks[0]).await;
    assert_eq!(theirs(&database, 1)["status"], "error");
    eventually(SOON, || async {
        let found = report(&warden, 1).await;
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn shadow_removes_nothing_writes_nothing_and_tells() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "in_progress"}));
    let before = Table::Mapping.rows(&database);
    let warden = Warden::start_on(&database, adopting(Table::Mapping)).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    let text = std::fs::read(&path).unwrap();
    wait(&warden, 1, "error finished process_gone run1").await;
    reported(&warden, 1, "error_here_only in_progress").await;
    reported(&warden, 1, "lock_there_only lock stands").await;
    let refused = warden.delete("/migrations/1/lock").await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("shadow")));
    assert_eq!(std::fs::read(&path).unwrap(), text);
    assert_eq!(changed(&before, &Table::Mapping.rows(&database)), [""; 0]);
    // The old monitor follows: nothing differs any more.
    Table::Mapping.update(&database, &json!({"changes_json": {"status": "error"}}), "1 = 1");
    std::fs::remove_file(&path).unwrap();
    eventually(SOON, || async {
        let found = report(&warden, 1).await;
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(source(&warden, 1), "monitor", "the same word; ours says why");
}

#[tokio::test]
async fn without_the_right_to_write_the_lock_stays_and_it_is_said_once() {
    if engine::is(Engine::Sqlite) {
        return;
    }
    let database = with_row(Table::Mapping, 1, &json!({"status": "in_progress"}));
    let before = Table::Mapping.rows(&database);
    let limited = theirs::login(&database, &[(Table::Mapping, "SELECT")]);
    let warden = Warden::start_on(&limited, writing(Table::Mapping)).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    let denied = |it: &Value| it["code"] == "denied" && it["until"].is_null();
    warden
        .until("/adopt/report", SOON, |answer| {
            answer.json["findings"].as_array()?.iter().any(denied).then_some(())
        })
        .await;
    assert!(path.exists());
    assert_eq!(changed(&before, &Table::Mapping.rows(&database)), [""; 0]);
    let said = warden.log().matches("may not be written").count();
    assert_eq!(said, 1, "{}", warden.log());
}

#[tokio::test]
async fn shadow_needs_no_right_to_write() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "in_progress"}));
    let limited = if engine::is(Engine::Sqlite) {
        database.clone()
    } else {
        theirs::login(&database, &[(Table::Mapping, "SELECT")])
    };
    let warden = Warden::start_on(&limited, adopting(Table::Mapping)).await;
    let dead = job::dead_pid(warden.dir());
    Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    reported(&warden, 1, "error_here_only in_progress").await;
    let log = warden.log();
    assert!(!log.contains("refused") && !log.contains("may not be written"), "{log}");
}

#[tokio::test]
async fn a_table_or_a_column_that_is_not_there_is_a_fault_of_the_configuration() {
    let database = Engine::current().fresh();
    let mut warden = Warden::prepare_on(&database, writing(Table::Mapping));
    warden.launch();
    assert_eq!(warden.wait_exit().await.code(), Some(78), "{}", warden.log());
    assert!(warden.log().contains("there is no such table"), "{}", warden.log());
    Table::Mapping.create(&database);
    warden.reconfigure(|config| config.set("adopt.migrations_json", "changes"));
    warden.launch();
    assert_eq!(warden.wait_exit().await.code(), Some(78), "{}", warden.log());
    assert!(
        warden.log().contains("it has no column changes; it has brz_project_id"),
        "{}",
        warden.log()
    );
}

#[tokio::test]
async fn off_again_leaves_everything_of_theirs_as_it_is() {
    let database = with_row(Table::Mapping, 1, &json!({"status": "in_progress"}));
    let mut warden = Warden::start_on(&database, writing(Table::Mapping)).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    warden.stop().await;
    job.kill();
    let path = Lock::new(1, job.pid()).ago(9000).write(&warden.lock_dir()).max(path);
    let before = Table::Mapping.rows(&database);
    warden.reconfigure(|config| config.set("adopt.mode", "off"));
    warden.launch();
    warden.ready().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    // Another death after it: had the lock been to go, it would be gone by then.
    let second = Lock::new(2, job.pid()).ago(9000).write(&warden.lock_dir());
    wait(&warden, 2, "error finished process_gone run1").await;
    let refused = warden.delete("/migrations/1/lock").await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("shadow")));
    assert!(path.exists() && second.exists(), "they are whoever's who takes care of them now");
    assert_eq!(changed(&before, &Table::Mapping.rows(&database)), [""; 0]);
}

/// Waits until two looks have passed that began after this call, where a lock goes only once their row is final.
async fn ticks_pass_on(warden: &Warden, database: &Database) {
    const HELPER: i64 = 9_100_000;
    static NEXT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(HELPER + 1);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    add(database, id, &json!({"status": "in_progress"}));
    // A row that is not known yet when the death is seen may be that of another run.
    wait(warden, id, "in_progress unknown - run1").await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(id, dead).ago(9000).write(&warden.lock_dir());
    gone(&path).await;
}

fn is_helper(row: &Value) -> bool {
    row["brz_project_id"].as_i64().is_some_and(|id| id > 9_100_000)
}
