//! The rights that `check-config` asks an administrator for, on the servers themselves: enough, and none too many.

use super::{assert_code, stdout};
use crate::support::server::{Kind, Server};
use crate::support::{Engine, Warden, WardenConfig, mariadb, postgres, sql};

/// `_` stands for any character in a GRANT of MariaDB.
const DATABASE: &str = "war_den";

/// What the schema's files and the store are made of; each is to be refused if its right is missing.
const STATEMENTS: [&str; 8] = [
    "CREATE TABLE procwarden_a (id BIGINT PRIMARY KEY, name VARCHAR(128) NOT NULL UNIQUE)",
    "ALTER TABLE procwarden_a ADD COLUMN place VARCHAR(128)",
    "CREATE INDEX procwarden_a_place ON procwarden_a (place)",
    "CREATE UNIQUE INDEX procwarden_a_both ON procwarden_a (name, place)",
    "INSERT INTO procwarden_a (id, name) VALUES (1, 'a')",
    "UPDATE procwarden_a SET place = 'b'",
    "DELETE FROM procwarden_a",
    "SELECT COUNT(*) FROM procwarden_a",
];

/// The URL of the user that is to have the rights.
fn user_url<K: Kind>(server: &Server<K>, scheme: &str) -> String {
    format!("{scheme}://wd:choose-a-password@127.0.0.1:{}/{DATABASE}", server.port())
}

/// What is printed for the administrator.
fn printed(config: WardenConfig) -> Vec<String> {
    let output = Warden::prepare(config).cli(&["check-config"]);
    assert_code(&output, 0);
    let text = stdout(&output);
    let (_, statements) = text.split_once("SQL for the administrator").unwrap();
    statements.lines().skip(1).map(str::to_owned).collect()
}

/// Does as the administrator what is printed for this URL. Gives each right with what it is on, to be taken back.
fn administer<K: Kind>(server: &Server<K>, url: &str) -> Vec<String> {
    let (mut database, mut rights) = ("", Vec::new());
    for statement in &printed(WardenConfig::default().set("database.url", url)) {
        if statement.starts_with("\\connect ") {
            database = DATABASE;
            continue;
        }
        server.sql(database, statement);
        if let Some(grant) = statement.strip_prefix("GRANT ") {
            let (given, on) = grant.split_once(" ON ").unwrap();
            let (on, _) = on.split_once(" TO ").unwrap();
            rights.extend(given.split(", ").map(|right| format!("{right} ON {on}")));
        }
    }
    rights
}

/// The first statement that this user may not carry out.
fn refused(url: &str) -> Option<&'static str> {
    STATEMENTS.into_iter().find(|statement| sql::execute(url, statement).is_err())
}

fn needs_each<K: Kind>(server: &Server<K>, url: &str, rights: &[String], user: &str) {
    let clean = || server.sql(DATABASE, "DROP TABLE IF EXISTS procwarden_a");
    assert_eq!(refused(url), None, "the rights are enough");
    clean();
    assert!(rights.len() >= 3, "{rights:?}");
    for right in rights {
        server.sql(DATABASE, &format!("REVOKE {right} FROM {user}"));
        assert!(refused(url).is_some(), "{right} is not needed");
        server.sql(DATABASE, &format!("GRANT {right} TO {user}"));
        clean();
    }
    assert_eq!(refused(url), None, "all are back");
}

#[test]
fn the_rights_are_enough_and_none_is_too_many() {
    match Engine::current() {
        Engine::Sqlite => println!("nothing to show: a file has no rights but its own"),
        Engine::Postgres => {
            let server = postgres::Server::start();
            let url = user_url(&server, "postgres");
            let rights = administer(&server, &url);
            // What is everybody's on most servers is not on all.
            server.sql("", &format!("REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC"));
            server.sql(DATABASE, "REVOKE ALL ON SCHEMA public FROM PUBLIC");
            needs_each(&server, &url, &rights, "wd");
        }
        Engine::MySql => {
            let server = mariadb::Server::start();
            let url = user_url(&server, "mysql");
            let rights = administer(&server, &url);
            needs_each(&server, &url, &rights, "wd@'%'");
            server.sql("", "CREATE DATABASE warXden");
            let other = url.replace(DATABASE, "warXden");
            assert!(sql::rows(&other, "SELECT 1").is_err(), "no other database is meant");
        }
    }
}

/// What is theirs before we come: `{}` is the schema with its dot, in which the nodes are.
const THEIRS: [&str; 5] = [
    "CREATE TABLE {}monero_nodes (id INT PRIMARY KEY, name VARCHAR(255), password VARCHAR(255), \
     worked INT, worked_data VARCHAR(255), host VARCHAR(255), port INT, username VARCHAR(255), pid INT, \
     available INT)",
    "CREATE TABLE migrations_mapping (brz_project_id INT, mb_project_uuid VARCHAR(255), \
     changes_json VARCHAR(255))",
    "CREATE TABLE users (id INT, password VARCHAR(255))",
    "INSERT INTO {}monero_nodes (id, name, password, worked) VALUES (1, 'a', 'p', 0)",
    "INSERT INTO migrations_mapping VALUES (1, 'u', NULL)",
];

/// What is done with theirs in shadow.
const READ: [&str; 2] = ["SELECT * FROM {}monero_nodes", "SELECT * FROM migrations_mapping"];

/// What is done besides to write.
const WRITE: [&str; 3] = [
    "UPDATE {}monero_nodes SET worked = 1, worked_data = '{}' WHERE id = 1 AND worked = 0",
    "UPDATE migrations_mapping SET changes_json = '{}' WHERE brz_project_id = 1 AND \
     mb_project_uuid = 'u'",
    "UPDATE migrations_mapping SET changes_json = NULL WHERE changes_json IS NOT NULL",
];

/// What nobody is to do.
const NEVER: [&str; 9] = [
    "UPDATE {}monero_nodes SET name = 'b' WHERE id = 1",
    "UPDATE {}monero_nodes SET password = 'b'",
    "INSERT INTO {}monero_nodes (id) VALUES (2)",
    "DELETE FROM {}monero_nodes",
    "UPDATE migrations_mapping SET mb_project_uuid = 'v'",
    "DELETE FROM migrations_mapping",
    "ALTER TABLE migrations_mapping ADD COLUMN x INT",
    "DROP TABLE {}monero_nodes",
    "SELECT * FROM users",
];

fn in_schema(statement: &str, schema: &str) -> String {
    statement.replacen("{}monero_nodes", &format!("{schema}monero_nodes"), 1)
}

/// The rights beside theirs, with the nodes in this schema (a database, in MariaDB).
fn beside_theirs<K: Kind>(
    server: &Server<K>,
    url: &str,
    schema: &str,
    drop_user: &[&str],
    utf8: &str,
) {
    let dotted = if schema.is_empty() { String::new() } else { format!("{schema}.") };
    let config = |mode: &str| {
        WardenConfig::default()
            .set("database.url", url)
            .set("migrations.lock_dir", "locks")
            .set("adopt.mode", mode)
            .set("adopt.nodes", format!("{dotted}monero_nodes"))
            .set("adopt.migrations", "migrations_mapping")
    };
    server.sql("", &format!("CREATE DATABASE {DATABASE} {utf8}"));
    if !schema.is_empty() {
        server.sql(DATABASE, &format!("CREATE SCHEMA {schema}"));
    }
    for statement in THEIRS {
        server.sql(DATABASE, &in_schema(statement, &dotted));
    }
    let may = |statement: &str| sql::execute(url, &in_schema(statement, &dotted)).is_ok();
    for mode in ["shadow", "write"] {
        let mut database = "";
        for statement in printed(config(mode)) {
            if statement.starts_with("\\connect ") {
                database = DATABASE;
            } else {
                server.sql(database, &statement);
            }
        }
        let output = Warden::prepare(config(mode)).cli(&["migrate"]);
        assert_code(&output, 0);
        let output = Warden::prepare(config(mode)).cli(&["migrate", "--verify"]);
        assert_code(&output, 0);
        for statement in READ {
            assert!(may(statement), "{mode}: {statement}");
        }
        for statement in WRITE {
            assert_eq!(may(statement), mode == "write", "{mode}: {statement}");
        }
        for statement in NEVER {
            assert!(!may(statement), "{mode}: {statement}");
        }
        for statement in drop_user {
            server.sql(DATABASE, statement);
        }
    }
}

#[test]
fn beside_their_tables_the_rights_are_those_of_the_mode_and_no_more() {
    match Engine::current() {
        Engine::Sqlite => println!("nothing to show: a file has no rights but its own"),
        Engine::Postgres => {
            let drop_user = ["DROP OWNED BY wd", "DROP USER wd"];
            for schema in ["", "app"] {
                let server = postgres::Server::start();
                beside_theirs(
                    &server,
                    &user_url(&server, "postgres"),
                    schema,
                    &drop_user,
                    "ENCODING 'UTF8' TEMPLATE template0",
                );
            }
        }
        Engine::MySql => {
            let drop_user = ["DROP USER wd@'%'"];
            for schema in ["", "app"] {
                let server = mariadb::Server::start();
                let url = user_url(&server, "mysql");
                beside_theirs(&server, &url, schema, &drop_user, "CHARACTER SET utf8mb4");
            }
        }
    }
}

/// Each right on one table of ours is needed, and the name of the database is no pattern.
#[test]
fn a_right_per_table_is_one_on_that_table_alone() {
    if Engine::current() != Engine::MySql {
        return println!("nothing to show: only MariaDB has such rights");
    }
    let server = mariadb::Server::start();
    let url = user_url(&server, "mysql");
    server.sql("", &format!("CREATE DATABASE {DATABASE}"));
    server.sql(DATABASE, "CREATE TABLE monero_nodes (id INT, worked INT, worked_data INT)");
    let config = WardenConfig::default()
        .set("database.url", url.as_str())
        .set("adopt.mode", "shadow")
        .set("adopt.nodes", "monero_nodes");
    for statement in printed(config) {
        server.sql("", &statement);
    }
    server.sql("", "CREATE DATABASE warXden");
    server.sql("", "CREATE TABLE warXden.procwarden_nodes (id INT)");
    let refused = |statement: &str| {
        let statement = statement.replace("procwarden_a ", "procwarden_outbox ");
        let other = statement.replace("procwarden_outbox ", "procwarden_b ");
        assert!(sql::execute(&url, &other).is_err(), "{other}");
        sql::execute(&url, &statement).is_err()
    };
    for statement in STATEMENTS {
        assert!(!refused(&format!("{statement} ")), "{statement}");
    }
    assert!(sql::execute(&url, "SELECT * FROM warXden.procwarden_nodes").is_err());
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "INDEX", "CREATE"] {
        server.sql(DATABASE, "DROP TABLE procwarden_outbox");
        server.sql("", &format!("REVOKE {right} ON {DATABASE}.procwarden_outbox FROM wd@'%'"));
        let all = STATEMENTS.iter().any(|statement| refused(&format!("{statement} ")));
        assert!(all, "{right} is not needed");
        server.sql(DATABASE, "CREATE TABLE IF NOT EXISTS procwarden_outbox (id INT)");
        server.sql("", &format!("GRANT CREATE, {right} ON {DATABASE}.procwarden_outbox TO wd@'%'"));
    }
}
