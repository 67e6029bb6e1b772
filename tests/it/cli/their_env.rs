//! The `.env` of the earlier systems, read by the service itself, and the database that it names.

use std::fs;

use super::{assert_code, stderr, stdout};
use crate::support::server::{Kind, Server};
use crate::support::{Engine, Warden, WardenConfig, mariadb, postgres};

/// What a person may choose and a URL, a shell and PHP each mean something by.
const PASSWORD: &str = "p@s:/?#%w \"$x\\п";

/// The same as Laravel's file has it, and as the dashboard's.
const IN_LARAVEL: &str = "\"p@s:/?#%w \\\"$x\\\\п\"";
const IN_MB: &str = "'p@s:/?#%w \"$x\\п'";

/// Makes the schema with nothing but their file to go by.
fn migrates(whose: &str, text: &str) {
    let config = WardenConfig::default().unset("database.url").set("adopt.env", whose);
    let warden = Warden::prepare(config.clone().set("adopt.env_file", "their.env"));
    let path = warden.dir().join("their.env");
    fs::write(&path, text).unwrap();
    let output = warden.cli(&["check-config"]);
    assert_code(&output, 0);
    let shown = stdout(&output) + &stderr(&output);
    assert!(shown.contains(&format!("in {}", path.display())), "{shown}");
    assert!(!shown.contains("p@s") && !shown.contains("p%40s"), "{shown}");
    assert_code(&warden.cli(&["migrate"]), 0);
    assert_code(&warden.cli(&["migrate", "--verify"]), 0);

    fs::write(&path, text.replace("?#", "?")).unwrap();
    let output = warden.cli(&["migrate"]);
    assert_ne!(output.status.code(), Some(0), "another password must be refused");
    assert!(!stderr(&output).contains("p@s") && !stderr(&output).contains("p%40s"));
}

fn laravel<K: Kind>(server: &Server<K>, connection: &str) -> String {
    format!(
        "APP_NAME=\"An app\"\nDB_CONNECTION={connection}\nDB_HOST=127.0.0.1\nDB_PORT={}\n\
         DB_DATABASE=app\nDB_USERNAME=wd\nDB_PASSWORD={IN_LARAVEL}\n",
        server.port()
    )
}

/// The server of the tests believes everybody; of this user it shall want the password.
fn asks_for_passwords(server: &mut postgres::Server) {
    let shown = server.sql("", "SHOW hba_file");
    let path = shown[0]["hba_file"].as_str().unwrap();
    let rules = fs::read_to_string(path).unwrap();
    fs::write(path, format!("host all wd all scram-sha-256\n{rules}")).unwrap();
    server.restart();
}

#[test]
fn their_database_is_reached_with_what_their_file_says() {
    match Engine::current() {
        Engine::Sqlite => {
            let warden = Warden::prepare(
                WardenConfig::default()
                    .unset("database.url")
                    .set("adopt.env", "laravel")
                    .set("adopt.env_file", "app/.env"),
            );
            fs::create_dir_all(warden.dir().join("app/database")).unwrap();
            fs::write(warden.dir().join("app/.env"), "DB_CONNECTION=sqlite\n").unwrap();
            assert_code(&warden.cli(&["migrate"]), 0);
            assert!(warden.dir().join("app/database/database.sqlite").exists());
        }
        Engine::Postgres => {
            let mut server = postgres::Server::start();
            let user = format!("CREATE USER wd PASSWORD '{PASSWORD}'");
            server.sql("", &user);
            asks_for_passwords(&mut server);
            server.sql("", "CREATE DATABASE app OWNER wd ENCODING 'UTF8' TEMPLATE template0");
            migrates("laravel", &laravel(&server, "pgsql"));
        }
        Engine::MySql => {
            let server = mariadb::Server::start();
            let password = PASSWORD.replace('\\', "\\\\");
            server.sql("", "CREATE DATABASE app CHARACTER SET utf8mb4");
            server.sql("", &format!("CREATE USER wd@'%' IDENTIFIED BY '{password}'"));
            server.sql("", "GRANT ALL ON app.* TO wd@'%'");
            migrates("laravel", &laravel(&server, "mariadb"));
            let text = format!(
                "MG_DB_HOST=127.0.0.1\nMG_DB_PORT={}\nMG_DB_NAME=app\nMG_DB_USER=wd\n\
                 MG_DB_PASS={IN_MB}\n",
                server.port()
            );
            migrates("mb", &text);
        }
    }
}
