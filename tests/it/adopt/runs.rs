//! Whose run their word is about, and what one bad row does to the others: nothing.

use serde_json::{Value, json};

use crate::migrations::{SOON, events, gone, source, wait};
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::theirs::Table;
use crate::support::{Warden, WardenConfig, db, eventually};

fn config(mode: &str) -> WardenConfig {
    WardenConfig::default()
        .set("migrations.grace", "600s")
        .set("adopt.mode", mode)
        .set("adopt.migrations", "migrations_mapping")
}

fn with(rows: &[(i64, Value)]) -> Database {
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    for (id, changes) in rows {
        let row = json!({"brz_project_id": id, "mb_project_uuid": job::uuid(*id),
                         "changes_json": changes, "updated_at": "2025-01-15 10:33:10"});
        Table::Mapping.insert(&database, &row);
    }
    database
}

fn going() -> Value {
    json!({"status": "in_progress"})
}

fn set(database: &Database, id: i64, changes: &Value) {
    let set = json!({"changes_json": changes});
    assert_eq!(Table::Mapping.update(database, &set, &format!("brz_project_id = {id}")), 1);
}

fn status(database: &Database, id: i64) -> Value {
    let rows = Table::Mapping.rows(database);
    let row = rows.iter().find(|row| row["brz_project_id"] == id).unwrap();
    let changes: Value = serde_json::from_str(row["changes_json"].as_str().unwrap()).unwrap();
    changes["status"].clone()
}

/// Waits until the report has this, open or over.
async fn finding(warden: &Warden, code: &str) -> Value {
    let is = |it: &&Value| it["code"] == code;
    warden
        .until("/adopt/report", SOON, |answer| {
            answer.json["findings"].as_array()?.iter().find(is).cloned()
        })
        .await
}

#[tokio::test]
async fn a_row_that_is_set_to_in_progress_anew_is_another_runs() {
    let database = with(&[(1, going())]);
    let warden = Warden::start_on(&database, config("write").set("migrations.settle", "2s")).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress gone process_gone run1").await;
    // The launcher begins anew, and has not written its lock yet.
    set(&database, 1, &json!({"status": "in_progress", "run": 2}));
    let explained = warden
        .until("/migrations/1/process", SOON, |answer| {
            let data = &answer.json["data"];
            let seen =
                data["explain"].as_array()?.iter().find(|it| it["predicate"] == "seen_dead_for")?;
            (seen["holds"] == true).then(|| data.clone())
        })
        .await;
    assert_eq!((&explained["verdict"], &explained["would"]), (&json!("wait"), &json!([])));
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1|run2").await;
    assert_eq!(status(&database, 1), "in_progress");
    assert!(path.exists());
    assert!(!events(&warden, 1).iter().any(|it| it.ends_with("error")), "{:?}", events(&warden, 1));
}

#[tokio::test]
async fn what_is_begun_anew_after_our_error_is_not_overwritten() {
    let database = with(&[(1, going())]);
    let mut warden = Warden::start_on(&database, config("shadow")).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    warden.kill9();
    let anew = json!({"status": "in_progress", "run": 2});
    set(&database, 1, &anew);
    let before = Table::Mapping.rows(&database);
    warden.reconfigure(|config| config.set("adopt.mode", "write"));
    warden.launch();
    warden.ready().await;
    // Another death and all that follows from it, so two looks at the first.
    let other =
        json!({"brz_project_id": 2, "mb_project_uuid": job::uuid(2), "changes_json": going()});
    Table::Mapping.insert(&database, &other);
    // A row that is not known yet when the death is seen may be that of another run.
    wait(&warden, 2, "in_progress unknown - run1").await;
    let second = Lock::new(2, dead).ago(9000).write(&warden.lock_dir());
    gone(&second).await;
    assert_eq!(Table::Mapping.rows(&database)[0], before[0]);
    assert!(path.exists());
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run2").await;
    assert_eq!(Table::Mapping.rows(&database)[0], before[0]);
}

#[tokio::test]
async fn the_word_of_the_run_before_does_not_end_the_next_one() {
    let database = with(&[(1, json!({"status": "error", "error": "failed in January"}))]);
    let warden = Warden::start_on(&database, config("write")).await;
    wait(&warden, 1, "error finished - run1").await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run2").await;
    std::fs::remove_file(path).unwrap();
    job.kill();
    wait(&warden, 1, "completed|error finished -|killed|exited|lock_removed run2").await;
    assert_ne!(source(&warden, 1), "adopted", "what happened to run 2 is not theirs to say");
    let row = crate::migrations::row(&warden, 1);
    assert_ne!(row["error"], "failed in January");
}

#[tokio::test]
async fn an_error_that_could_not_be_told_is_told_when_it_can() {
    let database = with(&[(1, going())]);
    let mut warden = Warden::start_on(&database, config("write")).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    db::execute(&database, "ALTER TABLE migrations_mapping RENAME TO elsewhere");
    finding(&warden, "table").await;
    job.kill();
    Lock::new(1, job.pid()).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished killed|process_gone run1").await;
    assert!(path.exists(), "nobody knows of it yet");
    warden.kill9();
    std::fs::remove_file(&path).unwrap();
    db::execute(&database, "ALTER TABLE elsewhere RENAME TO migrations_mapping");
    warden.restart().await;
    eventually(SOON, || async {
        let status = status(&database, 1);
        if status == "error" { Ok(()) } else { Err(format!("{status}")) }
    })
    .await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}

#[tokio::test]
async fn one_row_that_cannot_be_written_leaves_the_others_alone() {
    let database = with(&[(1, going()), (2, going()), (3, going())]);
    let raise = match Engine::current() {
        Engine::Sqlite => {
            "CREATE TRIGGER no BEFORE UPDATE ON migrations_mapping WHEN OLD.brz_project_id = 2 \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        }
        Engine::Postgres => {
            "CREATE FUNCTION no() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$ LANGUAGE plpgsql; \
             CREATE TRIGGER no BEFORE UPDATE ON migrations_mapping FOR EACH ROW WHEN (OLD.brz_project_id = 2) \
             EXECUTE FUNCTION no()"
        }
        Engine::MySql => {
            "CREATE TRIGGER no BEFORE UPDATE ON migrations_mapping FOR EACH ROW IF OLD.brz_project_id = 2 THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"
        }
    };
    db::execute(&database, raise);
    let mut warden = Warden::prepare_on(&database, config("write"));
    let dead = job::dead_pid(warden.dir());
    let locks: Vec<_> =
        (1..=3).map(|id| Lock::new(id, dead).ago(9000).write(&warden.lock_dir())).collect();
    warden.launch();
    warden.ready().await;
    gone(&locks[0]).await;
    gone(&locks[2]).await;
    wait(&warden, 2, "error finished process_gone run1").await;
    let failed = finding(&warden, "write_failed").await;
    assert!(failed["theirs"].as_str().unwrap().contains("not this one"), "{failed}");
    assert!(failed["subject"].as_str().unwrap().ends_with("-2"), "{failed}");
    assert!(locks[1].exists());
    assert_eq!(status(&database, 2), "in_progress");
    assert_eq!((status(&database, 1), status(&database, 3)), (json!("error"), json!("error")));
    let verbose = warden.get("/readyz?verbose").await;
    assert_eq!(verbose.json["status"], "ready", "the database works: {:#}", verbose.json);
}

#[tokio::test]
async fn letters_in_another_case_are_the_same_uuid() {
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let id = 0xab_cdef;
    let row = json!({"brz_project_id": id, "mb_project_uuid": job::uuid(id).to_uppercase(),
                     "changes_json": going()});
    Table::Mapping.insert(&database, &row);
    let warden = Warden::start_on(&database, config("write")).await;
    wait(&warden, id, "in_progress unknown - run1").await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(id, dead).ago(9000).write(&warden.lock_dir());
    gone(&path).await;
    assert_eq!(status(&database, id), "error");
    let list = warden.get(&format!("/migrations?brz_project_id={id}")).await;
    assert_eq!(list.json["count"], 1, "{:#}", list.json);
}

#[tokio::test]
async fn secrets_in_their_error_are_not_passed_on() {
    let error = "cannot reach mysql://root:pw66@db/x?token=tok77 password=pw88";
    let database = with(&[(1, json!({"status": "error", "error": error}))]);
    let warden = Warden::start_on(&database, config("shadow")).await;
    wait(&warden, 1, "error finished - run1").await;
    let mut said = warden.log();
    for path in ["/migrations", "/migrations/1", "/migrations/1/status", "/adopt/report"] {
        said += &warden.get(path).await.json.to_string();
    }
    assert!(said.contains("cannot reach mysql://***@db/x"), "{said}");
    for secret in ["pw66", "tok77", "pw88"] {
        assert!(!said.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn rows_that_are_nobodys_are_told_of_in_one_line() {
    let database = with(&[(0, going()), (1, going())]);
    let long =
        json!({"brz_project_id": 2, "mb_project_uuid": "u".repeat(250), "changes_json": going()});
    Table::Mapping.insert(&database, &long);
    let warden = Warden::start_on(&database, config("shadow")).await;
    wait(&warden, 1, "in_progress unknown - run1").await;
    let bad = finding(&warden, "bad_row").await;
    assert_eq!(bad["subject"], "table:migrations_mapping");
    assert!(bad["theirs"].as_str().unwrap().starts_with("2 rows, such as"), "{bad}");
    assert_eq!(warden.get("/migrations").await.json["count"], 1);
}

#[tokio::test]
async fn rows_of_theirs_outlive_the_name_of_an_instance() {
    if !engine::is_shared() {
        return;
    }
    let database = with(&[(1, going()), (2, going())]);
    let mut warden = Warden::start_on(&database, config("write")).await;
    wait(&warden, 1, "in_progress unknown - run1").await;
    warden.kill9();
    warden.reconfigure(|config| config.set("instance.name", "another"));
    warden.launch();
    warden.ready().await;
    set(&database, 1, &json!({"status": "success"}));
    wait(&warden, 1, "success finished - run1").await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(2, dead).ago(9000).write(&warden.lock_dir());
    gone(&path).await;
    assert_eq!(status(&database, 2), "error");
}

#[tokio::test]
async fn columns_of_other_types_and_ids_as_text() {
    let database = Engine::current().fresh();
    let (uuid, json) = match Engine::current() {
        Engine::Sqlite => {
            std::fs::File::create_new(database.file()).unwrap();
            ("text", "text")
        }
        Engine::Postgres => ("uuid", "jsonb"),
        Engine::MySql => ("char(36)", "json"),
    };
    db::execute(
        &database,
        &format!(
            "CREATE TABLE migrations_mapping (brz_project_id varchar(20), mb_project_uuid {uuid}, changes_json {json})"
        ),
    );
    for (id, changes) in [("1", r#"{"status": "in_progress", "b": 1.50}"#), ("x", "{}")] {
        let uuid = job::uuid(1);
        let sql = format!("INSERT INTO migrations_mapping VALUES ('{id}', '{uuid}', '{changes}')");
        db::execute(&database, &sql);
    }
    let warden = Warden::start_on(&database, config("write")).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    gone(&path).await;
    let rows = db::query(&database, "SELECT * FROM migrations_mapping ORDER BY brz_project_id");
    let changes: Value = serde_json::from_str(rows[0]["changes_json"].as_str().unwrap()).unwrap();
    assert_eq!((&changes["status"], &changes["b"]), (&json!("error"), &json!(1.5)));
    assert_eq!(rows[1]["changes_json"], "{}");
    let bad = finding(&warden, "bad_row").await;
    assert!(bad["theirs"].as_str().unwrap().contains("-x': no project id"), "{bad}");
}
