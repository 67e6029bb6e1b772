//! A database that cannot be used: one clear line, the exit code, nothing changed.

use std::fs;

use serde_json::Value;

use super::ended;
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::{Warden, WardenConfig, db, mariadb, postgres};

/// What the tables and the first of their rows are, to be compared.
fn held(database: &Database) -> Vec<(String, Vec<Value>)> {
    let columns = |table: &String| match table.as_str() {
        // The checksums are no text.
        "procwarden_schema" => "version, description, success",
        _ => "*",
    };
    let rows =
        |table: &String| db::query(database, &format!("SELECT {} FROM {table}", columns(table)));
    db::tables(database)
        .into_iter()
        .map(|table| {
            let rows = rows(&table);
            (table, rows)
        })
        .collect()
}

/// A database with the schema, nothing running.
fn migrated() -> Warden {
    let warden = Warden::prepare(WardenConfig::default());
    assert_eq!(ended(&warden.cli(&["migrate"])).0, 0);
    warden
}

/// Each of the commands that begin with the database ends with 69 and one line that has all these parts; the password
/// is in none.
fn refuses(warden: &Warden, commands: &[&[&str]], parts: &[&str]) {
    for command in commands {
        let output = warden.cli(command);
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        let told = |line: &&str| line.starts_with("procwarden: ");
        let lines: Vec<&str> = said.lines().filter(told).collect();
        assert_eq!((output.status.code(), lines.len()), (Some(69), 1), "{command:?}: {said}");
        // What is no line of the log is the one that tells.
        let others = said.lines().filter(|line| !told(line) && !line.starts_with("20"));
        assert_eq!(others.count(), 0, "{command:?}: {said}");
        for part in parts {
            assert!(lines[0].contains(part), "{command:?}: {part} is not in {said}");
        }
        assert!(!said.contains("hunter"), "{command:?}: {said}");
    }
}

const ALL: [&[&str]; 4] = [&["serve"], &["migrate"], &["status"], &["instances"]];

/// The same URL with other credentials or another database.
fn elsewhere(database: &Database, login: &str, name: Option<&str>) -> Database {
    let (scheme, rest) = database.url().split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    let (host, known) = place.split_once('/').unwrap();
    Database::at(format!("{scheme}://{login}@{host}/{}", name.unwrap_or(known)))
}

fn on(database: &Database) -> Warden {
    Warden::prepare_on(database, WardenConfig::default())
}

#[test]
fn a_wrong_password() {
    if !engine::is_shared() {
        return;
    }
    match Engine::current() {
        Engine::Sqlite => unreachable!(),
        Engine::Postgres => {
            let server = postgres::Server::start();
            server.sql("", "CREATE ROLE wd LOGIN PASSWORD 'hunter1'");
            let hba = server.dir().join("data/pg_hba.conf");
            let rules = fs::read_to_string(&hba).unwrap();
            fs::write(&hba, format!("host all wd 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
            server.sql("", "SELECT pg_reload_conf()");
            let database = Database::on(&server);
            let wrong = elsewhere(&database, "wd:hunter3", None);
            // The server rereads its rules when it comes to it.
            crate::support::poll::eventually_sync(super::SOON, || {
                if db::try_query(&wrong, "SELECT 1").is_err() { Ok(()) } else { Err("let in") }
            });
            refuses(&on(&wrong), &ALL, &["check the user and the password", "cannot open"]);
        }
        Engine::MySql => {
            let database = Engine::MySql.fresh();
            let wrong = elsewhere(&database, "warden:hunter3", None);
            refuses(&on(&wrong), &ALL, &["check the user and the password", "cannot open"]);
        }
    }
}

#[test]
fn no_such_database() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let login = if engine::is(Engine::Postgres) { "postgres" } else { "warden:hunter2" };
    let none = elsewhere(&database, login, Some("no_such_database"));
    refuses(&on(&none), &ALL, &["create the database first", "check-config"]);
}

#[test]
fn nobody_listens() {
    if !engine::is_shared() {
        return;
    }
    let port = crate::support::ports::free_port();
    let scheme = if engine::is(Engine::Postgres) { "postgres" } else { "mysql" };
    let none = Database::at(format!("{scheme}://u:hunter2@127.0.0.1:{port}/d"));
    let config = WardenConfig::default().set("database.connect_timeout", "300ms");
    let warden = Warden::prepare_on(&none, config);
    refuses(&warden, &ALL, &["cannot open", "Connection refused"]);
}

#[test]
fn a_schema_of_a_newer_program() {
    let warden = migrated();
    let checksum = match Engine::current() {
        Engine::Postgres => "'\\x00'",
        _ => "x'00'",
    };
    db::execute(
        warden.database(),
        &format!(
            "INSERT INTO procwarden_schema (version, description, success, checksum, execution_time) \
             VALUES (9999, 'of tomorrow', TRUE, {checksum}, 1)"
        ),
    );
    let before = held(warden.database());
    refuses(&warden, &ALL, &["schema 9999", "use a newer procwarden"]);
    assert_eq!(held(warden.database()), before);
}

#[test]
fn a_schema_whose_last_step_was_interrupted() {
    let warden = migrated();
    db::execute(
        warden.database(),
        "UPDATE procwarden_schema SET success = FALSE WHERE version = (SELECT last FROM \
         (SELECT MAX(version) AS last FROM procwarden_schema) AS steps)",
    );
    let before = held(warden.database());
    refuses(&warden, &[&["serve"], &["migrate"]], &["interrupted", "procwarden_schema"]);
    // What only looks asks for the same command, and that one tells.
    let (code, said) = ended(&warden.cli(&["status"]));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("run `procwarden migrate`"), "{said}");
    assert_eq!(held(warden.database()), before);
}

#[test]
fn a_user_without_rights() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let weak = match Engine::current() {
        Engine::Sqlite => unreachable!(),
        Engine::Postgres => {
            let name = format!("weak_{}", std::process::id());
            db::execute(
                &database,
                &format!(
                    "DO $$ BEGIN CREATE ROLE {name} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
                ),
            );
            db::execute(&database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
            elsewhere(&database, &format!("{name}:hunter2"), None)
        }
        Engine::MySql => {
            let name = database.url().rsplit('/').next().unwrap();
            let server = engine::mariadb_server();
            for statement in [
                "CREATE USER IF NOT EXISTS weak@'127.0.0.1' IDENTIFIED BY 'hunter2'".to_owned(),
                format!("GRANT SELECT ON {name}.* TO weak@'127.0.0.1'"),
            ] {
                server.sql("", &statement);
            }
            elsewhere(&database, "weak:hunter2", None)
        }
    };
    let warden = on(&weak);
    let parts = ["lacks a right", "check-config"];
    refuses(&warden, &[&["serve"], &["migrate"]], &parts);
    assert_eq!(db::tables(&database), Vec::<String>::new());
    // With the schema there, but without the right to write.
    assert_eq!(ended(&on(&database).cli(&["migrate"])).0, 0);
    if let (Engine::Postgres, Some((_, rest))) = (Engine::current(), weak.url().split_once("://")) {
        let name = rest.split(':').next().unwrap();
        let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}");
        db::execute(&database, &grant);
    }
    let before = held(&database);
    refuses(&warden, &[&["serve"]], &parts);
    assert_eq!(held(&database), before);
    assert_eq!(ended(&warden.cli(&["status"])).0, 0, "to look it has all rights");
    if engine::is(Engine::Postgres) {
        let name = format!("weak_{}", std::process::id());
        db::execute(&database, &format!("DROP OWNED BY {name}; DROP ROLE {name}"));
    }
}

/// PostgreSQL: every transaction is read-only. MariaDB: the whole server is, except to its administrators.
#[test]
fn a_database_that_takes_no_writes() {
    if !engine::is_shared() {
        return;
    }
    let parts = ["read-only", "primary"];
    let check = |database: &Database, turn: &dyn Fn(bool)| {
        turn(true);
        refuses(&on(database), &[&["serve"], &["migrate"]], &parts);
        assert_eq!(db::tables(database), Vec::<String>::new());
        turn(false);
        assert_eq!(ended(&on(database).cli(&["migrate"])).0, 0);
        turn(true);
        let before = held(database);
        refuses(&on(database), &[&["serve"], &["nodes", "add", "n", "--port", "1"]], &parts);
        assert_eq!(ended(&on(database).cli(&["status"])).0, 0, "it can be read");
        assert_eq!(held(database), before);
        turn(false);
    };
    if engine::is(Engine::Postgres) {
        let database = Engine::Postgres.fresh();
        let name = database.url().rsplit('/').next().unwrap().to_owned();
        let server = engine::postgres_server();
        check(&database, &|on| {
            let value = if on { "on" } else { "off" };
            server.sql(
                "",
                &format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}"),
            );
        });
    } else {
        let server = mariadb::Server::start();
        let database = Database::on(&server);
        check(&database, &|on| {
            server.sql("", &format!("SET GLOBAL read_only = {}", u8::from(on)));
        });
    }
}
