//! The Laravel module's nodes, in a table as its own migrations make it.

mod fleet;
mod followed;
mod passwords;
mod refused;
mod rights;
mod starts;

use std::fs::File;
use std::process::Output;

use serde_json::{Value, json};

use crate::nodes::{SOON, becomes, data, find};
use crate::support::php::php;
use crate::support::{
    Engine, Wallet, Warden, WardenConfig, database::Database, db, engine, eventually, ports,
};

const KEY: &str = "base64:q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
const OTHER_KEY: &str = "base64:AAAAASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";

/// Every column but the two that may be written.
const UNTOUCHED: [&str; 13] = [
    "id",
    "name",
    "title",
    "host",
    "port",
    "username",
    "password",
    "daemon",
    "pid",
    "sync_at",
    "available",
    "created_at",
    "updated_at",
];

/// Their database, with their table in it.
struct Theirs {
    database: Database,
}

impl Theirs {
    fn new() -> Self {
        Self::with_id("")
    }

    /// With another type of the id than theirs.
    fn with_id(id: &str) -> Self {
        let database = Engine::current().fresh();
        if database.engine() == Engine::Sqlite {
            File::create(database.file()).unwrap();
        }
        let (own_id, flag, object, time) = match database.engine() {
            Engine::Sqlite => {
                ("integer primary key autoincrement", "tinyint(1)", "text", "datetime")
            }
            Engine::Postgres => ("bigserial primary key", "boolean", "json", "timestamp(0)"),
            Engine::MySql => {
                ("bigint unsigned auto_increment primary key", "tinyint(1)", "json", "timestamp")
            }
        };
        let id = if id.is_empty() { own_id } else { id };
        let theirs = Self { database };
        theirs.sql(&format!(
            "CREATE TABLE monero_nodes (id {id} not null, name varchar(255) not null unique, title varchar(255) null, \
             host varchar(255) not null default '127.0.0.1', port int not null, username varchar(255) null, \
             password text null, daemon text null, pid int null, sync_at {time} null, \
             worked {flag} not null default FALSE, worked_data {object} null, available {flag} not null default TRUE, \
             created_at {time} null, updated_at {time} null)"
        ));
        theirs
    }

    fn sql(&self, text: &str) {
        db::execute(&self.database, text);
    }

    /// A row of long ago.
    fn add(&self, id: i64, name: &str, port: u16) {
        self.sql(&format!(
            "INSERT INTO monero_nodes (id, name, port, created_at, updated_at) \
             VALUES ({id}, '{name}', {port}, '2025-01-15 10:30:45', '2025-01-15 10:30:45')"
        ));
    }

    /// Sets columns of a row, as Laravel would.
    fn set(&self, id: i64, sets: &str) {
        self.sql(&format!("UPDATE monero_nodes SET {sets} WHERE id = {id}"));
    }

    fn rows(&self) -> Vec<Value> {
        db::query(&self.database, "SELECT * FROM monero_nodes ORDER BY id")
    }

    fn untouched(&self) -> Vec<Vec<Value>> {
        let of = |row: &Value| UNTOUCHED.map(|name| row[name].clone()).to_vec();
        self.rows().iter().map(of).collect()
    }

    /// Waits until a row says that it works or not; its `worked_data`.
    async fn until_told(&self, id: i64, worked: bool) -> Value {
        eventually(SOON, || async {
            let row = self.rows().into_iter().find(|row| number(&row["id"]) == id).unwrap();
            let says = truth(&row["worked"]);
            match row["worked_data"].as_str() {
                Some(text) if says == worked => Ok(serde_json::from_str(text).unwrap()),
                _ => Err(format!("{row:#}")),
            }
        })
        .await
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn truth(value: &Value) -> bool {
    *value == json!(true) || *value == json!(1) || *value == json!("1")
}

fn config(mode: &str) -> WardenConfig {
    WardenConfig::default()
        .set("adopt.mode", mode)
        .set("adopt.nodes", "monero_nodes")
        .set("adopt.laravel_key", KEY)
}

async fn adopting(theirs: &Theirs, mode: &str) -> Warden {
    Warden::start_on(&theirs.database, config(mode)).await
}

async fn until_gone(warden: &Warden, path: &str) {
    warden.until(path, SOON, |answer| (answer.status == 404).then_some(())).await;
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The start fails for what is configured; what is said.
async fn refused(theirs: &Theirs, config: WardenConfig) -> String {
    let mut warden = Warden::prepare_on(&theirs.database, config);
    warden.launch();
    let status = warden.wait_exit().await;
    assert_eq!(status.code(), Some(78), "{}", warden.log());
    warden.log()
}
