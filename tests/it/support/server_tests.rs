//! The database servers of the tests, each in the run that is about its engine.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::database::Database;
use super::engine::{self, Engine};
use super::poll::eventually_sync;
use super::server::{Kind, Server};
use super::{db, kernel, mariadb, postgres, sql};

/// Set for the process that [`nothing_is_left_of_a_test_process_that_was_killed`] kills.
const VICTIM: &str = "PROCWARDEN_TEST_VICTIM";

#[test]
fn rows_are_the_same_on_every_engine() {
    let database = Engine::current().fresh();
    if engine::is(Engine::Sqlite) {
        std::fs::write(database.file(), "").unwrap();
    }
    db::execute(
        &database,
        "CREATE TABLE procwarden_t (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(64), body TEXT)",
    );
    let insert = "INSERT INTO procwarden_t VALUES (1, '42', 'ü€𝄞'), (9007199254740993, NULL, '')";
    assert_eq!(db::execute(&database, insert), 2);
    assert_eq!(
        db::query(&database, "SELECT * FROM procwarden_t ORDER BY id"),
        [
            json!({"id": 1, "name": "42", "body": "ü€𝄞"}),
            json!({"id": 9_007_199_254_740_993_i64, "name": null, "body": ""}),
        ]
    );
    let totals = "SELECT COUNT(*) AS n, SUM(id) AS sum, MAX(name) AS name FROM procwarden_t";
    let totals = db::query(&database, totals);
    assert_eq!(totals, [json!({"n": 2, "sum": 9_007_199_254_740_994_i64, "name": "42"})]);
    assert_eq!(db::tables(&database), ["procwarden_t"]);
    assert!(db::query(&database, "SELECT * FROM procwarden_t WHERE id = 0").is_empty());
    assert!(db::try_query(&database, "SELECT * FROM procwarden_none").is_err());
}

#[test]
fn what_is_held_is_written_by_nobody_else_until_it_is_let_go() {
    let database = Engine::current().fresh();
    if engine::is(Engine::Sqlite) {
        std::fs::write(database.file(), "").unwrap();
    }
    db::execute(&database, "CREATE TABLE procwarden_t (id BIGINT NOT NULL PRIMARY KEY)");
    let held = db::hold(&database);
    let (tell, told) = std::sync::mpsc::channel();
    let other = database.clone();
    let writer = std::thread::spawn(move || {
        db::execute(&other, "INSERT INTO procwarden_t VALUES (1)");
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_millis(500)).expect_err("it is held");
    drop(held);
    writer.join().unwrap();
    assert_eq!(db::query(&database, "SELECT * FROM procwarden_t"), [json!({"id": 1})]);
}

#[test]
fn a_database_goes_with_its_last_handle() {
    let database = Engine::current().fresh();
    let url = database.url().to_owned();
    if engine::is(Engine::Sqlite) {
        std::fs::write(database.file(), "").unwrap();
    }
    let second = database.clone();
    drop(database);
    sql::rows(&url, "SELECT 1").unwrap();
    drop(second);
    sql::rows(&url, "SELECT 1").unwrap_err();
}

fn survives<K: Kind>(mut server: Server<K>) {
    let database = Database::on(&server);
    db::execute(&database, "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY)");
    db::execute(&database, "INSERT INTO t VALUES (1)");
    let (port, pid) = (server.port(), server.pid());
    server.kill9();
    assert!(server.try_sql("", "SELECT 1").is_err(), "it is gone");
    server.restart();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    db::execute(&database, "INSERT INTO t VALUES (2)");
    server.stop();
    server.restart();
    assert_eq!(db::query(&database, "SELECT id FROM t ORDER BY id").len(), 2);

    server.freeze();
    let (tell, told) = std::sync::mpsc::channel();
    let other = database.clone();
    let reader = std::thread::spawn(move || {
        let rows = db::query(&other, "SELECT id FROM t");
        tell.send(()).unwrap();
        rows
    });
    told.recv_timeout(Duration::from_millis(500)).expect_err("it is frozen");
    assert!(kernel::listens(server.pid(), port), "and still there");
    server.thaw();
    assert_eq!(reader.join().unwrap().len(), 2);

    // However it stands, it goes with its directory.
    server.freeze();
    let (pid, dir) = (server.pid(), server.dir().to_owned());
    drop(server);
    assert_eq!(kernel::state(pid), None);
    assert!(!dir.exists());
}

#[test]
fn postgresql_is_killed_restarted_and_frozen() {
    if engine::is(Engine::Postgres) {
        survives(postgres::Server::start());
    }
}

#[test]
fn mariadb_is_killed_restarted_and_frozen() {
    if engine::is(Engine::MySql) {
        survives(mariadb::Server::start());
    }
}

/// The servers that all tests share live as long as the process, not as long as a test's thread.
#[test]
fn nothing_is_left_of_a_test_process_that_was_killed() {
    if engine::is(Engine::Sqlite) {
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "support::server_tests::the_victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(victim.stdout.take().unwrap());
    let told = out.lines().map(Result::unwrap).find_map(|line| {
        let (pid, dir) = line.split_once("started ")?.1.split_once(' ')?;
        Some((pid.parse::<i32>().unwrap(), PathBuf::from(dir)))
    });
    let (pid, dir) = told.expect("the victim tells what it started");
    assert!(dir.exists() && kernel::state(pid).is_some());
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually_sync(Duration::from_mins(1), || match (kernel::state(pid), dir.exists()) {
        (None, false) => Ok(()),
        left => Err(format!("{pid}, {}: {left:?}", dir.display())),
    });
}

/// No test by itself: the process that is killed.
#[test]
fn the_victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    std::thread::spawn(|| Engine::current().fresh()).join().unwrap();
    let started = match Engine::current() {
        Engine::Sqlite => unreachable!(),
        Engine::Postgres => {
            let server = engine::postgres_server();
            (server.pid(), server.dir())
        }
        Engine::MySql => {
            let server = engine::mariadb_server();
            (server.pid(), server.dir())
        }
    };
    // The thread that started it is over, and it answers.
    drop(Engine::current().fresh());
    println!("started {} {}", started.0, started.1.display());
    // Until it is killed.
    let _ = std::io::stdin().read(&mut [0]);
}
