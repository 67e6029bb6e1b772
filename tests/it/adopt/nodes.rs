//! The Laravel module's nodes, in a table as its own migrations make it.

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

#[tokio::test]
async fn their_nodes_keep_their_ids_and_are_told_how_they_are_and_nothing_else_of_them_changes() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(5, "main-node", wallet.port());
    theirs.add(9, "dead", ports::free_port());
    theirs.add(11, "off", ports::free_port());
    theirs.set(5, "title = 'Главный', daemon = 'http://d:18081', worked_data = '{\"old\": 1}'");
    theirs.set(9, "worked = TRUE, sync_at = '2025-01-01 00:00:00'");
    theirs.set(11, "available = FALSE, worked = TRUE");
    let before = theirs.untouched();
    let warden = adopting(&theirs, "write").await;

    let up = theirs.until_told(5, true).await;
    assert_eq!((&up["method"], &up["message"]), (&json!("api"), &json!("API is responding")));
    assert!(up["last_check"].as_str().unwrap().ends_with("+00:00"), "{up:#}");
    let down = theirs.until_told(9, false).await;
    assert_eq!(down["reason"], "port_closed", "{down:#}");
    let list = warden.get("/nodes").await.json;
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!(5), &json!(9), &json!(11)]);
    let main = find(&list["data"], "main-node");
    assert_eq!((&main["title"], &main["daemon"]), (&json!("Главный"), &json!("http://d:18081")));

    assert_eq!(theirs.untouched(), before);
    let off = theirs.rows().remove(2);
    assert!(truth(&off["worked"]) && off["worked_data"].is_null(), "not ours to tell: {off:#}");
    drop(wallet);
    theirs.until_told(5, false).await;
    assert_eq!(theirs.untouched(), before);
}

#[tokio::test]
async fn what_changes_there_is_followed() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    theirs.add(2, "b", ports::free_port());
    let warden = adopting(&theirs, "write").await;
    becomes(&warden, "a", "up", None).await;

    theirs.add(3, "c", wallet.port());
    becomes(&warden, "c", "up", None).await;
    assert_eq!(data(&warden.get("/nodes/c").await.json)["id"], 3);
    theirs.set(3, "name = 'renamed'");
    until_gone(&warden, "/nodes/c").await;
    assert_eq!(data(&warden.get("/nodes/renamed").await.json)["id"], 3);
    theirs.set(3, "available = FALSE");
    let off = |it: &crate::support::Answer| (data(&it.json)["state"] == "disabled").then_some(());
    warden.until("/nodes/3", SOON, off).await;
    theirs.sql("DELETE FROM monero_nodes WHERE id = 3");
    until_gone(&warden, "/nodes/3").await;

    // Two exchange their names at once.
    theirs.sql(
        "BEGIN; UPDATE monero_nodes SET name = 'x' WHERE id = 1; \
         UPDATE monero_nodes SET name = 'a' WHERE id = 2; \
         UPDATE monero_nodes SET name = 'b' WHERE id = 1; COMMIT",
    );
    let named = |id: i64, name: &'static str| {
        move |it: &crate::support::Answer| {
            (data(&it.json)["id"] == id && data(&it.json)["name"] == name).then_some(())
        }
    };
    warden.until("/nodes/1", SOON, named(1, "b")).await;
    warden.until("/nodes/2", SOON, named(2, "a")).await;
}

#[tokio::test]
async fn another_pid_is_followed_and_the_verdict_stands() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    theirs.set(1, "pid = 999999");
    let warden = adopting(&theirs, "write").await;
    becomes(&warden, "a", "up", None).await;
    let before = data(&warden.get("/nodes/1").await.json).clone();
    assert_eq!(before["pid"], 999_999);

    theirs.set(1, &format!("pid = {}", wallet.pid()));
    let after = warden
        .until("/nodes/1", SOON, |answer| {
            let node = data(&answer.json).clone();
            assert_eq!(node["state"], "up", "never anything else: {node:#}");
            let looked = node["checked_at"] != before["checked_at"];
            (node["pid"] == wallet.pid() && looked).then_some(node)
        })
        .await;
    assert_eq!(after["since"], before["since"]);
    assert!(db::events_of(warden.database(), "node").is_empty());
    theirs.set(1, "pid = 0");
    let none = |it: &crate::support::Answer| data(&it.json)["pid"].is_null().then_some(());
    warden.until("/nodes/1", SOON, none).await;
}

#[tokio::test]
async fn what_is_theirs_is_changed_there_and_the_rest_here() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(4, "a", wallet.port());
    theirs.set(4, "pid = 999999");
    let warden = adopting(&theirs, "write").await;
    let made = warden.post("/nodes", &json!({"name": "b", "port": 1})).await;
    assert_eq!((made.status, &made.json["code"]), (409, &json!("adopted")), "{:#}", made.json);
    let gone = warden.delete("/nodes/a").await;
    assert_eq!((gone.status, &gone.json["code"]), (409, &json!("adopted")), "{:#}", gone.json);
    assert_eq!(warden.delete("/nodes/nobody").await.status, 404);
    for body in [
        json!({"name": "b"}),
        json!({"title": null}),
        json!({"host": "::1"}),
        json!({"port": 1}),
        json!({"username": "u"}),
        json!({"password": "p"}),
        json!({"daemon": "d"}),
        json!({"pid": 1}),
        json!({"available": false, "tls": "verify"}),
    ] {
        let answer = warden.patch("/nodes/4", &body).await;
        assert_eq!((answer.status, &answer.json["code"]), (409, &json!("adopted")), "{body}");
        let field = body.as_object().unwrap().keys().next().unwrap();
        assert!(answer.json["detail"].as_str().unwrap().contains(field), "{:#}", answer.json);
    }
    for args in [
        &["nodes", "add", "b", "--port", "1"][..],
        &["nodes", "set", "a", "--title", "t"],
        &["nodes", "remove", "a"],
        &["nodes", "import", "--from", "laravel"],
    ] {
        let output = warden.cli(args);
        assert_eq!(code(&output), Some(64), "{args:?}: {}", said(&output));
        assert!(said(&output).contains("adopt.nodes"), "{}", said(&output));
    }

    let tls = warden.patch("/nodes/4", &json!({"tls": "insecure"})).await;
    assert_eq!((tls.status, &data(&tls.json)["tls"]), (200, &json!("insecure")), "{:#}", tls.json);
    let file = wallet.dir().join("pid");
    std::fs::write(&file, wallet.pid().to_string()).unwrap();
    let answer = warden.patch("/nodes/4", &json!({"pid_file": file})).await;
    assert_eq!((answer.status, &data(&answer.json)["pid"]), (200, &Value::Null));
    // Theirs was read again, and both are kept.
    theirs.set(4, "title = 'read'");
    let read = warden
        .until("/nodes/4", SOON, |it| (data(&it.json)["title"] == "read").then(|| it.json.clone()))
        .await;
    assert_eq!(data(&read)["tls"], "insecure");
    assert_eq!((&data(&read)["pid"], &data(&read)["pid_file"]), (&Value::Null, &json!(file)));
    assert_eq!(warden.patch("/nodes/4", &json!({"pid_file": null})).await.status, 200);
    let theirs_again =
        |it: &crate::support::Answer| (data(&it.json)["pid"] == 999_999).then_some(());
    warden.until("/nodes/4", SOON, theirs_again).await;
}

/// A user who may do all with our tables and only read theirs: the URL, and who it is in a GRANT.
fn reader(theirs: &Theirs) -> (String, String) {
    let url = theirs.database.url();
    let name = url.rsplit('/').next().unwrap().replace("test_", "reader_");
    if theirs.database.engine() == Engine::Postgres {
        theirs.sql(&format!(
            "CREATE ROLE {name} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {name}; \
             GRANT SELECT ON monero_nodes TO {name}"
        ));
        return (url.replace("postgres@", &format!("{name}@")), name);
    }
    let (user, server) = (format!("{name}@'127.0.0.1'"), engine::mariadb_server());
    let schema = url.rsplit('/').next().unwrap();
    server.sql("", &format!("CREATE USER {user} IDENTIFIED BY 'pw'"));
    server.sql("", &format!("GRANT SELECT ON {schema}.monero_nodes TO {user}"));
    for table in
        ["nodes", "migrations", "revision", "instances", "events", "outbox", "schema", "findings"]
    {
        server.sql(
            "",
            &format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON {schema}.procwarden_{table} TO {user}"
            ),
        );
    }
    (url.replace("warden:hunter2@", &format!("{name}:pw@")), user)
}

fn administer(theirs: &Theirs, statement: &str) {
    match theirs.database.engine() {
        Engine::MySql => drop(engine::mariadb_server().sql("", statement)),
        _ => theirs.sql(statement),
    }
}

#[tokio::test]
async fn in_shadow_nothing_is_written() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    let before = theirs.rows();
    let mut config = config("shadow");
    if theirs.database.engine() != Engine::Sqlite {
        config = config.set("database.url", reader(&theirs).0);
    }
    let warden = Warden::start_on(&theirs.database, config).await;
    becomes(&warden, "a", "up", None).await;
    // A round of reading later.
    theirs.add(2, "b", wallet.port());
    becomes(&warden, "b", "up", None).await;
    theirs.sql("DELETE FROM monero_nodes WHERE id = 2");
    until_gone(&warden, "/nodes/2").await;
    assert_eq!(theirs.rows(), before);
    assert!(!warden.log().contains("not told"), "{}", warden.log());
}

#[tokio::test]
async fn the_right_to_write_two_columns_is_enough_and_without_it_that_is_said_once() {
    if engine::is(Engine::Sqlite) {
        println!("nothing to show: a file has no rights by column");
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    theirs.add(2, "b", ports::free_port());
    let before = theirs.rows();
    let (url, user) = reader(&theirs);
    let mut warden =
        Warden::start_on(&theirs.database, config("write").set("database.url", url)).await;
    becomes(&warden, "a", "up", None).await;
    eventually(SOON, || async {
        let log = warden.log();
        if log.contains("may not be written") && log.contains("GRANT") { Ok(()) } else { Err(log) }
    })
    .await;
    becomes(&warden, "b", "down", Some("port_closed")).await;
    assert_eq!(warden.log().matches("may not be written").count(), 1, "{}", warden.log());
    assert_eq!(theirs.rows(), before);

    let schema = theirs.database.url().rsplit('/').next().unwrap().to_owned();
    let table = match theirs.database.engine() {
        Engine::MySql => format!("{schema}.monero_nodes"),
        _ => "monero_nodes".to_owned(),
    };
    administer(&theirs, &format!("GRANT UPDATE (worked, worked_data) ON {table} TO {user}"));
    warden.restart().await;
    theirs.until_told(1, true).await;
    theirs.until_told(2, false).await;
}

#[tokio::test]
async fn a_column_that_would_change_by_itself_stays() {
    if !engine::is(Engine::MySql) {
        println!("nothing to show: no column changes by itself here");
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.sql(
        "ALTER TABLE monero_nodes MODIFY updated_at timestamp NOT NULL DEFAULT current_timestamp() \
         ON UPDATE current_timestamp()",
    );
    theirs.add(1, "a", wallet.port());
    let before = theirs.untouched();
    let _warden = adopting(&theirs, "write").await;
    theirs.until_told(1, true).await;
    assert_eq!(theirs.untouched(), before);
}

#[tokio::test]
async fn a_registry_with_nodes_of_its_own_is_not_mixed_with_theirs() {
    let theirs = Theirs::new();
    theirs.add(1, "a", 1);
    let own = Warden::prepare_on(&theirs.database, WardenConfig::default());
    assert_eq!(code(&own.cli(&["nodes", "add", "mine", "--port", "1"])), Some(0));
    let log = refused(&theirs, config("write")).await;
    assert!(log.contains("1 nodes of its own") && log.contains("nodes import"), "{log}");
    // What is advised works.
    let warden = Warden::prepare_on(&theirs.database, config("write"));
    assert_eq!(code(&warden.cli(&["nodes", "remove", "mine"])), Some(0));
    let warden = adopting(&theirs, "write").await;
    assert_eq!(data(&warden.get("/nodes/a").await.json)["id"], 1);
}

#[tokio::test]
async fn what_is_not_there_is_named_at_the_start() {
    let theirs = Theirs::new();
    let log = refused(&theirs, config("shadow").set("adopt.nodes", "nodes_of_nobody")).await;
    assert!(log.contains("nodes_of_nobody: there is no such table"), "{log}");
    theirs.sql("ALTER TABLE monero_nodes DROP COLUMN worked_data");
    theirs.sql("ALTER TABLE monero_nodes DROP COLUMN pid");
    let log = refused(&theirs, config("shadow")).await;
    assert!(log.contains("monero_nodes: it has no column pid, worked_data"), "{log}");
}

#[tokio::test]
async fn one_goes_back_with_one_setting() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(40, "a", wallet.port());
    let before = theirs.untouched();
    let mut warden = adopting(&theirs, "write").await;
    theirs.until_told(40, true).await;
    assert!(warden.stop().await.success());
    let told = theirs.rows();
    warden.reconfigure(|config| config.set("adopt.mode", "off"));
    warden.launch();
    warden.ready().await;
    assert_eq!(warden.get("/nodes").await.json["count"], 0);
    assert_eq!((theirs.rows(), theirs.untouched()), (told, before));
    assert!(warden.log().contains("their mirror is removed"), "{}", warden.log());
    // Ids are never given again, theirs neither.
    let made = warden.post("/nodes", &json!({"name": "a", "port": 1})).await;
    assert!(data(&made.json)["id"].as_i64().unwrap() > 40, "{:#}", made.json);
}

#[tokio::test]
async fn ids_as_strings_are_ids() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::with_id("varchar(20) primary key"));
    if engine::is(Engine::Postgres) {
        theirs.sql("ALTER TABLE monero_nodes ALTER worked_data TYPE jsonb");
    }
    theirs.sql(&format!(
        "INSERT INTO monero_nodes (id, name, port) VALUES ('07', 'a', {}), ('x', 'bad', 1), ('8', 'b', 1)",
        wallet.port()
    ));
    let warden = adopting(&theirs, "write").await;
    becomes(&warden, "a", "up", None).await;
    assert_eq!(data(&warden.get("/nodes/a").await.json)["id"], 7);
    eventually(SOON, || async {
        let rows = theirs.rows();
        let of = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap();
        let told = !of("8")["worked_data"].is_null() && truth(&of("07")["worked"]);
        if told && of("x")["worked_data"].is_null() { Ok(()) } else { Err(format!("{rows:#?}")) }
    })
    .await;
    let log = warden.log();
    assert_eq!(log.matches("'x' is no id").count(), 1, "said once: {log}");
    assert_eq!(warden.get("/nodes").await.json["count"], 2);
}

#[tokio::test]
async fn rows_that_cannot_be_nodes_keep_nobody_else_out() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "good", wallet.port());
    theirs.add(2, "42", wallet.port());
    theirs.add(3, "portless", 0);
    theirs.add(4, "hostless", 1);
    theirs.set(4, "host = ''");
    let warden = adopting(&theirs, "write").await;
    becomes(&warden, "good", "up", None).await;
    let renamed = becomes(&warden, "node-2", "up", None).await;
    assert_eq!(renamed["id"], 2);
    assert_eq!(data(&warden.get("/nodes/2").await.json)["title"], "42");
    assert_eq!(warden.get("/nodes").await.json["count"], 2);
    theirs.set(3, &format!("port = {}", wallet.port()));
    becomes(&warden, "portless", "up", None).await;
    let log = warden.log();
    for said in ["port 0 is none of", "host: must have", "it is 'node-2' here"] {
        assert_eq!(log.matches(said).count(), 1, "{said}: {log}");
    }
}

#[tokio::test]
async fn a_table_that_goes_away_is_said_once_and_the_nodes_stay() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    let warden = adopting(&theirs, "shadow").await;
    becomes(&warden, "a", "up", None).await;
    theirs.sql("ALTER TABLE monero_nodes RENAME TO away");
    let logged = |text: &'static str| {
        let warden = &warden;
        eventually(SOON, move || async move {
            let log = warden.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
    };
    logged("their nodes cannot be followed").await;
    assert_eq!(warden.get("/nodes").await.json["count"], 1);
    theirs.sql("ALTER TABLE away RENAME TO monero_nodes");
    logged("their nodes can be followed again").await;
    theirs.set(1, "title = 'back'");
    let back = |it: &crate::support::Answer| (data(&it.json)["title"] == "back").then_some(());
    warden.until("/nodes/1", SOON, back).await;
    assert_eq!(warden.log().matches("cannot be followed").count(), 1, "{}", warden.log());
}

#[tokio::test]
async fn two_instances_adopt_one_table() {
    if !engine::is_shared() {
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(3, "a", wallet.port());
    // Anywhere but on a loopback address, so that it is shared out: 192.0.2.1 is nobody's (RFC 5737).
    theirs.add(4, "far", 1);
    theirs.set(4, "host = '192.0.2.1'");
    let before = theirs.untouched();
    let one = adopting(&theirs, "write").await;
    let mut two = Warden::start_on(
        &theirs.database,
        config("write").set("instance.name", "test-2").set("instance.heartbeat", "1s"),
    )
    .await;
    for warden in [&one, &two] {
        becomes(warden, "a", "up", None).await;
        // Why is the network's to say.
        let down = |it: &crate::support::Answer| (data(&it.json)["state"] == "down").then_some(());
        warden.until("/nodes/far", SOON, down).await;
    }
    theirs.add(5, "late", wallet.port());
    for warden in [&one, &two] {
        becomes(warden, "late", "up", None).await;
    }
    theirs.until_told(3, true).await;
    theirs.until_told(4, false).await;
    theirs.until_told(5, true).await;
    assert_eq!(theirs.untouched()[..2], before);
    // One that adopts no more takes nothing from the other for long.
    two.reconfigure(|config| config.set("adopt.mode", "off"));
    two.restart().await;
    becomes(&one, "late", "up", None).await;
    assert_eq!(one.get("/nodes").await.json["count"], 3);
    let gone = two.delete("/nodes/late").await;
    assert_eq!(gone.status, 409, "theirs, whoever asks: {:#}", gone.json);
}

/// An instance that adopts, with short leases.
fn member(name: &str) -> WardenConfig {
    config("write").set("instance.name", name).set("instance.heartbeat", "1s")
}

/// Whom each adopted node is registered with, and the version of its row, by id.
fn registered(warden: &Warden) -> Vec<(i64, String, i64)> {
    let mut rows: Vec<_> = db::nodes(warden.database())
        .iter()
        .map(|row| {
            let instance = row["instance"].as_str().unwrap().to_owned();
            (number(&row["id"]), instance, number(&row["version"]))
        })
        .collect();
    rows.sort();
    rows
}

/// Waits until these nodes are all that this instance answers for, and all of them work.
async fn answers_for(warden: &Warden, total: usize) {
    warden
        .until("/health", SOON, |it| {
            let seen = (&it.json["working"], &it.json["total"]);
            (seen == (&json!(total), &json!(total))).then_some(())
        })
        .await;
}

#[tokio::test]
async fn under_another_name_their_nodes_are_still_ours() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "local", wallet.port());
    theirs.add(2, "by-pid", wallet.port());
    theirs.set(2, &format!("pid = {}", wallet.pid()));
    let mut warden = Warden::start_on(&theirs.database, member("old")).await;
    theirs.until_told(1, true).await;
    theirs.until_told(2, true).await;
    // Gone with a goodbye, then forgotten as well.
    for (name, forgotten) in [("new", None), ("newest", Some("new"))] {
        assert!(warden.stop().await.success());
        if let Some(before) = forgotten.filter(|_| !engine::is(Engine::Sqlite)) {
            let output = warden.cli(&["instances", "forget", before]);
            assert_eq!(code(&output), Some(0), "{}", said(&output));
        }
        warden.reconfigure(|config| config.set("instance.name", name));
        warden.launch();
        warden.ready().await;
        answers_for(&warden, 2).await;
        for name in ["local", "by-pid"] {
            becomes(&warden, name, "up", None).await;
        }
        assert!(registered(&warden).iter().all(|(_, instance, _)| instance == name));
    }
    drop(wallet);
    theirs.until_told(1, false).await;
    theirs.until_told(2, false).await;
}

#[tokio::test]
async fn a_lost_ones_nodes_move_and_no_others() {
    if !engine::is_shared() {
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    let mut one = Warden::start_on(&theirs.database, member("one")).await;
    theirs.until_told(1, true).await;
    let two = Warden::start_on(&theirs.database, member("two")).await;
    becomes(&two, "a", "up", None).await;
    one.kill9();
    answers_for(&two, 1).await;
    let moved = registered(&two);
    assert_eq!((moved.len(), moved[0].1.as_str()), (1, "two"));
    // It stays there when the other returns: two that live leave all as it is.
    one.launch();
    one.ready().await;
    becomes(&one, "a", "up", None).await;
    theirs.add(2, "b", wallet.port());
    for warden in [&one, &two] {
        becomes(warden, "b", "up", None).await;
    }
    theirs.set(2, "title = 'read by both'");
    for warden in [&one, &two] {
        let read =
            |it: &crate::support::Answer| (data(&it.json)["title"] == "read by both").then_some(());
        warden.until("/nodes/b", SOON, read).await;
    }
    assert_eq!(registered(&two)[0], moved[0]);
    drop(wallet);
    theirs.until_told(1, false).await;
}

#[tokio::test]
async fn one_that_starts_again_keeps_its_nodes() {
    if !engine::is_shared() {
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    // Longer than this test takes.
    let patient =
        |name: &str| config("write").set("instance.name", name).set("instance.heartbeat", "2m");
    let mut one = Warden::start_on(&theirs.database, patient("one")).await;
    becomes(&one, "a", "up", None).await;
    let two = Warden::start_on(&theirs.database, patient("two")).await;
    let before = registered(&two);
    assert_eq!(before[0].1, "one");
    assert!(one.stop().await.success());
    // The other knows of its goodbye, and reads their table after that.
    two.until("/instances", SOON, |it| {
        (find(&it.json["instances"], "one")["state"] != "live").then_some(())
    })
    .await;
    theirs.add(2, "b", wallet.port());
    becomes(&two, "b", "up", None).await;
    assert_eq!(registered(&two)[0], before[0]);
    one.launch();
    one.ready().await;
    becomes(&one, "a", "up", None).await;
    answers_for(&one, 1).await;
    assert_eq!(registered(&two)[0], before[0]);
}

/// Their database takes no UPDATE of this row, and says so at length.
fn refuse(theirs: &Theirs, id: i64) {
    let why = format!("closed for stocktaking {}", "x".repeat(400));
    let trigger = "CREATE TRIGGER closed BEFORE UPDATE ON monero_nodes";
    match theirs.database.engine() {
        Engine::Sqlite => theirs
            .sql(&format!("{trigger} WHEN NEW.id = {id} BEGIN SELECT RAISE(ABORT, '{why}'); END")),
        Engine::Postgres => theirs.sql(&format!(
            "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.id = {id} THEN RAISE EXCEPTION '{why}'; END IF; RETURN NEW; END $$; \
             {trigger} FOR EACH ROW EXECUTE FUNCTION closed()"
        )),
        Engine::MySql => theirs.sql(&format!(
            "{trigger} FOR EACH ROW IF NEW.id = {id} THEN SIGNAL SQLSTATE '45000' \
             SET MESSAGE_TEXT = '{why}'; END IF"
        )),
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_written_keeps_no_other_from_being_told() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        theirs.add(id, name, wallet.port());
    }
    refuse(&theirs, 2);
    let before = theirs.rows();
    let warden = adopting(&theirs, "write").await;
    theirs.until_told(1, true).await;
    theirs.until_told(3, true).await;
    let finding = warden
        .until("/adopt/report", SOON, |it| {
            let findings = it.json["findings"].as_array().unwrap().clone();
            findings.into_iter().find(|it| it["code"] == "bad_row")
        })
        .await;
    assert_eq!((&finding["subject"], &finding["kind"]), (&json!("node:2"), &json!("fault")));
    let words = finding["theirs"].as_str().unwrap();
    assert!(words.contains("closed for stocktaking") && words.chars().count() <= 300, "{words}");
    // The others are told what becomes of them.
    theirs.set(3, &format!("port = {}", ports::free_port()));
    theirs.until_told(3, false).await;
    assert_eq!(theirs.rows()[1], before[1]);
    let report = warden.get("/adopt/report").await.json;
    let of = |code: &str| {
        let all = report["findings"].as_array().unwrap().iter();
        all.filter(|it| it["code"] == code).count()
    };
    assert_eq!((of("bad_row"), of("denied")), (1, 0), "{report:#}");
    assert!(!warden.log().contains("not told how they are"), "{}", warden.log());
}

fn sealed(key: &str, clear: &str) -> String {
    php("adopt/laravel_encrypt.php", &["aes-256-cbc", key], clear.as_bytes())
}

#[tokio::test]
async fn a_password_that_cannot_be_read_is_one_nodes_trouble() {
    let (wallet, theirs) = (Wallet::start_login("user:pa ss").await, Theirs::new());
    theirs.add(1, "readable", wallet.port());
    theirs.add(2, "unreadable", wallet.port());
    theirs.set(1, &format!("username = 'user', password = '{}'", sealed(KEY, "pa ss")));
    theirs.set(2, &format!("username = 'user', password = '{}'", sealed(OTHER_KEY, "pa ss")));
    let warden = adopting(&theirs, "write").await;
    becomes(&warden, "readable", "up", None).await;
    becomes(&warden, "unreadable", "down", Some("secret_unreadable")).await;
    theirs.until_told(1, true).await;
    assert_eq!(theirs.until_told(2, false).await["reason"], "secret_unreadable");
    // It is saved anew, with the key that counts.
    theirs.set(2, &format!("password = '{}'", sealed(KEY, "pa ss")));
    becomes(&warden, "unreadable", "up", None).await;
    let stored = db::nodes(warden.database());
    assert!(stored.iter().all(|row| !row["password"].as_str().unwrap().contains("pa ss")));
}

#[tokio::test]
async fn nodes_are_imported_once() {
    let wallet = Wallet::start_login("user:pa ss").await;
    let theirs = Theirs::new();
    theirs.add(30, "main", wallet.port());
    theirs.add(31, "there", wallet.port());
    theirs.add(32, "a/b", wallet.port());
    theirs.set(30, &format!("username = 'user', password = '{}'", sealed(KEY, "pa ss")));
    let before = theirs.rows();
    let config = WardenConfig::default().set("adopt.laravel_key", KEY);
    let ours = Warden::prepare(config);
    assert_eq!(code(&ours.cli(&["nodes", "add", "there", "--port", "1"])), Some(0));
    let import = |more: &[&str]| {
        let source = theirs.database.url();
        let args = ["nodes", "import", "--from", "laravel", "--output", "json", "--source", "-"];
        ours.cli_reading(&[&args[..], more].concat(), &format!("{source}\n"))
    };

    let dry = import(&["--dry-run"]);
    assert_eq!(code(&dry), Some(0), "{}", said(&dry));
    let shown: Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!((&shown["count"], &shown["dry_run"]), (&json!(2), &json!(true)));
    assert_eq!(db::nodes(ours.database()).len(), 1, "nothing is written");

    let done = import(&[]);
    assert_eq!(code(&done), Some(0), "{}", said(&done));
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(shown["count"], 2, "{shown:#}");
    assert_eq!(find(&shown["data"], "there")["exists"], true);
    assert_eq!(find(&shown["data"], "node-32")["their_id"], 32);
    let stored = db::nodes(ours.database());
    let main = find(&json!(stored), "main");
    assert_eq!((&main["password"], &main["origin"]), (&json!("pa ss"), &json!("user")));
    assert_eq!(find(&json!(stored), "there")["port"], 1, "left alone");
    let up = ours.cli(&["status", "main", "--method", "api"]);
    assert_eq!(code(&up), Some(0), "{}", said(&up));
    let again: Value = serde_json::from_slice(&import(&[]).stdout).unwrap();
    assert_eq!(again["count"], 0);

    // One whose password nobody can read comes without it; one that cannot be a node stops all.
    theirs.add(33, "sealed", 1);
    theirs.set(33, &format!("password = '{}'", sealed(OTHER_KEY, "x")));
    let partly = import(&[]);
    assert_eq!(code(&partly), Some(1), "{}", said(&partly));
    assert!(said(&partly).contains("node 'sealed' is imported without its password"));
    assert_eq!(find(&json!(db::nodes(ours.database())), "sealed")["password"], Value::Null);
    theirs.add(34, "fine", 1);
    theirs.add(35, "portless", 0);
    let refused = import(&[]);
    assert_eq!(code(&refused), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("nothing was imported"), "{}", said(&refused));
    assert_eq!(db::nodes(ours.database()).len(), 4);
    assert_eq!(theirs.rows()[..3], before, "theirs is only read");
}

#[tokio::test]
async fn their_statements_are_verified_too() {
    let theirs = Theirs::new();
    let warden = adopting(&theirs, "write").await;
    let count = |output: &Output| -> i64 {
        assert_eq!(code(output), Some(0), "{}", said(output));
        said(output).split(' ').find_map(|word| word.parse().ok()).unwrap()
    };
    let with = count(&warden.cli(&["migrate", "--verify"]));
    let own = Warden::prepare_on(&theirs.database, WardenConfig::default());
    assert_eq!(with, count(&own.cli(&["migrate", "--verify"])) + 2);
}

#[tokio::test]
async fn what_is_imported_after_an_adoption_stays() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(30, "main", wallet.port());
    let mut warden = adopting(&theirs, "shadow").await;
    becomes(&warden, "main", "up", None).await;
    warden.stop().await;
    warden.reconfigure(|config| config.set("adopt.mode", "off"));
    let done = warden.cli(&["nodes", "import", "--from", "laravel", "--output", "json"]);
    assert_eq!(code(&done), Some(0), "{}", said(&done));
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(shown["data"][0]["imported"], true, "{shown:#}");
    warden.launch();
    warden.ready().await;
    becomes(&warden, "main", "up", None).await;
}
