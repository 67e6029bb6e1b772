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

/// Does as the administrator what is printed for this URL. Gives each right with what it is on, to be taken back.
fn administer<K: Kind>(server: &Server<K>, url: &str) -> Vec<String> {
    let config = WardenConfig::default().set("database.url", url);
    let output = Warden::prepare(config).cli(&["check-config"]);
    assert_code(&output, 0);
    let text = stdout(&output);
    let (_, statements) = text.split_once("SQL for the administrator").unwrap();
    let (mut database, mut rights) = ("", Vec::new());
    for statement in statements.lines().skip(1) {
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
