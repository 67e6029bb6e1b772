//! Killed between any two steps, and overtaken by their runner: their row and ours say the same, or theirs wins.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use procwarden::config::{self, MigrationsTable, StatusPlace, TableName};
use procwarden::domain::migration::{Key, Reason, Source, Status};
use procwarden::domain::node::Password;
use procwarden::domain::reconcile::{Basis, Rules, Scope, Write, finish, first_row};
use procwarden::domain::{Here, Now, Timestamp, Uptime};
use procwarden::store::{Applied, Holder, Open, Store, Tells};
use serde_json::{Value, json};

use crate::migrations::{events, gone, source, wait};
use crate::support::database::Database;
use crate::support::job::{self, Lock};
use crate::support::theirs::{Table, changed};
use crate::support::{Engine, Warden, WardenConfig, db};

fn with_row() -> Database {
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let row = json!({"brz_project_id": 1, "mb_project_uuid": job::uuid(1),
                     "changes_json": {"status": "in_progress", "wave": 7}});
    Table::Mapping.insert(&database, &row);
    database
}

fn their_status(database: &Database) -> Value {
    let row = Table::Mapping.rows(database).remove(0);
    let changes: Value = serde_json::from_str(row["changes_json"].as_str().unwrap()).unwrap();
    changes["status"].clone()
}

/// A dead job's old lock; the service dies at this point.
async fn killed_at(database: &Database, point: &str) -> (Warden, std::path::PathBuf) {
    let config = WardenConfig::default()
        .set("migrations.grace", "600s")
        .set("adopt.mode", "write")
        .set("adopt.migrations", "migrations_mapping")
        .env("FAILPOINTS", point);
    let mut warden = Warden::prepare_on(database, config);
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    warden.launch();
    let status = warden.wait_exit().await;
    assert_eq!(status.signal(), Some(9), "{point}: {status}; {}", warden.log());
    warden.reconfigure(|config| config.env("FAILPOINTS", ""));
    (warden, path)
}

#[tokio::test]
async fn their_row_and_ours_turn_together_or_not_at_all() {
    for point in [
        "before-flip=return",
        "in-transaction=1*off->return",
        "after-flip=return",
        "lock-renamed=return",
    ] {
        let database = with_row();
        let (mut warden, path) = killed_at(&database, point).await;
        let ours = db::migrations(&database);
        let (ours, theirs) =
            (ours.first().map(|row| row["status"].clone()), their_status(&database));
        assert_eq!(ours.unwrap_or_else(|| json!("in_progress")), theirs, "{point}");
        warden.restart().await;
        wait(&warden, 1, "error finished process_gone run1").await;
        gone(&path).await;
        assert_eq!(their_status(&database), "error", "{point}");
        assert_eq!(events(&warden, 1), ["1:error"], "{point}");
        assert_eq!(job::asides(&warden.lock_dir()), [""; 0], "{point}");
    }
}

#[tokio::test]
async fn what_their_runner_says_while_we_are_down_is_believed() {
    let database = with_row();
    let (mut warden, path) = killed_at(&database, "before-flip=return").await;
    let done = json!({"changes_json": {"status": "completed", "wave": 7}});
    Table::Mapping.update(&database, &done, "1 = 1");
    let theirs = Table::Mapping.rows(&database);
    warden.restart().await;
    wait(&warden, 1, "completed finished - run1").await;
    gone(&path).await;
    assert_eq!(source(&warden, 1), "adopted");
    assert_eq!(events(&warden, 1), ["1:completed"]);
    assert_eq!(changed(&theirs, &Table::Mapping.rows(&database)), [""; 0]);
}

#[tokio::test]
async fn our_error_over_a_row_that_was_written_since_it_was_read_writes_nothing() {
    const NOW: Now = Now { wall: Timestamp(9_000_000), up: Uptime(9_000) };
    let database = with_row();
    let url = Password::new(database.url().to_owned());
    let settings = config::Database { url, ..config::Database::default() };
    let store = Store::open(&settings, Open::Create).await.unwrap();
    let table = store
        .their_migrations(&MigrationsTable {
            name: TableName { schema: None, table: "migrations_mapping".to_owned() },
            project_id: "brz_project_id".to_owned(),
            uuid: "mb_project_uuid".to_owned(),
            status: StatusPlace::Json {
                column: "changes_json".to_owned(),
                status: "status".to_owned(),
                error: "error".to_owned(),
            },
        })
        .await
        .unwrap();
    let here = Here { host_id: "h".to_owned(), boot_id: "b".to_owned(), pid_ns: 1 };
    let holder = Holder {
        name: "one".to_owned(),
        here: here.clone(),
        pid: 1,
        start_ticks: None,
        since: Timestamp(0),
        lease: Duration::from_secs(600),
    };
    let lease = store.take_name(&holder, None, false).await.unwrap().unwrap();
    let rules = Rules {
        grace: Duration::ZERO,
        settle: Duration::ZERO,
        stall_after: None,
        scope: Scope::Local,
        here,
        instance: "one".to_owned(),
        sole: true,
        live: ["one".to_owned()].into(),
    };
    let key = Key { mb_project_uuid: job::uuid(1), brz_project_id: 1 };
    let first = Write::Insert(Box::new(first_row(&key, &rules, NOW)));
    let applied = store.apply(&lease, &[(None, first)], NOW.wall).await.unwrap();
    let [Applied::Done(stored)] = &applied[..] else { panic!("{applied:?}") };
    let record = store.their_records(&table).await.unwrap().remove(0);
    let tell = table.error(&record, "Процесс 7 is gone", NOW.wall).unwrap();
    let mut row = stored.row.clone();
    finish(&mut row, Status::Error, Reason::ProcessGone, Source::Monitor, NOW);
    row.updated_at = NOW.wall;
    let error = Write::Update { basis: Basis::of(&stored.row), row: Box::new(row), flip: true };
    let writes = [(Some(stored.id), error)];
    let rows = [Some(tell)];
    let tells = Some(Tells { table: &table, rows: &rows });

    // Only a blank more, and it is another row.
    let done = json!({"changes_json": "{\"status\":\"in_progress\",\"wave\":7 }"});
    Table::Mapping.update(&database, &done, "1 = 1");
    let theirs = Table::Mapping.rows(&database);
    let applied = store.apply_and_tell(&lease, &writes, tells, NOW.wall).await.unwrap();
    assert_eq!(applied, [Applied::TheirsMoved]);
    assert_eq!(changed(&theirs, &Table::Mapping.rows(&database)), [""; 0]);
    assert_eq!(db::migrations(&database)[0]["status"], "in_progress");
    assert!(db::events_of(&database, "migration").is_empty());

    // Ours was written by another one: theirs is undone.
    let record = store.their_records(&table).await.unwrap().remove(0);
    let rows = [Some(table.error(&record, "gone", NOW.wall).unwrap())];
    let tells = Some(Tells { table: &table, rows: &rows });
    db::execute(&database, "UPDATE procwarden_migrations SET run = 2");
    let undone = store.apply_and_tell(&lease, &writes, tells, NOW.wall).await.unwrap_err();
    assert!(undone.to_string().contains("nothing was changed"), "{undone}");
    assert_eq!(changed(&theirs, &Table::Mapping.rows(&database)), [""; 0]);

    db::execute(&database, "UPDATE procwarden_migrations SET run = 1");
    let applied = store.apply_and_tell(&lease, &writes, tells, NOW.wall).await.unwrap();
    assert!(matches!(&applied[..], [Applied::Done(_)]), "{applied:?}");
    assert_eq!(their_status(&database), "error");
    store.close().await;
}
