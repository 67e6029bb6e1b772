//! What became of nodes and migrations: in pages, with the uptime, and no longer than it is kept.

use std::time::Duration;

use procwarden::config;
use procwarden::domain::Timestamp;
use procwarden::domain::node::Password;
use procwarden::store::{Beat, Holder, Open, Store};
use serde_json::{Value, json};

use crate::nodes::{SOON, becomes, node, watching};
use crate::support::database::Database;
use crate::support::job::{self, unix_now};
use crate::support::{Engine, Wallet, Warden, WardenConfig, db};

/// `from to reason` of each turn of an answer.
fn turns(answer: &Value) -> Vec<String> {
    let word = |turn: &Value, key: &str| turn[key].as_str().unwrap_or("-").to_owned();
    let turns = answer["history"].as_array().unwrap().iter();
    turns
        .map(|turn| format!("{} {} {}", word(turn, "from"), word(turn, "to"), word(turn, "reason")))
        .collect()
}

async fn end(warden: &Warden, id: i64, status: &str) {
    let body = json!({"status": status, "mb_project_uuid": job::uuid(id)});
    assert_eq!(warden.patch(&format!("/migrations/{id}"), &body).await.status, 200);
}

fn cli(warden: &Warden, args: &[&str]) -> Value {
    let output = warden.cli(args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_node_that_turned_is_told_page_by_page_with_its_uptime() {
    let mut wallet = Wallet::start().await;
    let warden = watching(node("n", wallet.port())).await;
    becomes(&warden, "n", "up", None).await;
    let quiet = warden.until("/nodes/n/history", SOON, |answer| {
        let is_known = answer.json["uptime"]["24h"]["ratio"].is_number();
        is_known.then(|| answer.json.clone())
    });
    let quiet = quiet.await;
    assert_eq!(turns(&quiet), [""; 0], "what it is since its first check is no turn");
    assert_eq!(quiet["uptime"]["24h"]["ratio"], 1.0, "and known all the same");
    wallet.stop().await;
    becomes(&warden, "n", "down", Some("process_stopped")).await;
    wallet.cont();
    becomes(&warden, "n", "up", None).await;
    wallet.kill();
    let row = becomes(&warden, "n", "down", Some("port_closed")).await;
    let answer = warden.get("/nodes/n/history").await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    assert_eq!(
        turns(&answer.json),
        ["up down port_closed", "down up -", "up down process_stopped"]
    );
    let newest = &answer.json["history"][0];
    assert_eq!(newest["instance"], "test-1");
    assert!(newest["at"].as_str().unwrap() >= row["since"].as_str().unwrap(), "{newest}");
    assert_eq!(answer.json["next"], Value::Null);
    let uptime = &answer.json["uptime"];
    for (period, secs) in [("24h", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400)] {
        let ratio = uptime[period]["ratio"].as_f64().unwrap();
        assert!((0.0..1.0).contains(&ratio), "{uptime}");
        let unknown = uptime[period]["unknown_seconds"].as_i64().unwrap();
        assert!((secs - 300..secs).contains(&unknown), "nobody watched before: {uptime}");
    }

    let first = warden.get("/nodes/n/history?limit=1").await.json;
    assert_eq!(turns(&first), ["up down port_closed"]);
    let next = first["next"].as_str().unwrap();
    let second = warden.get(&format!("/nodes/n/history?limit=2&before={next}")).await.json;
    assert_eq!(turns(&second), ["down up -", "up down process_stopped"]);
    assert_eq!(second["next"], Value::Null);
    let told = cli(&warden, &["history", "node", "n", "--limit", "1", "--output", "json"]);
    assert_eq!(told["history"], first["history"]);
    let text = warden.cli(&["history", "node", "n"]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("port_closed") && text.contains("up in 30d: "), "{text}");
}

#[tokio::test]
async fn a_migration_has_its_own_and_the_rules_of_reads_hold() {
    let config = WardenConfig::default()
        .set("server.base_paths", json!(["/dashboard/api"]))
        .set("server.read_token", "reader");
    let warden = Warden::start(config).await;
    end(&warden, 1, "error").await;
    end(&warden, 2, "success").await;
    let get = async |path: &str| {
        let request = warden.request(reqwest::Method::GET, path).bearer_auth("reader");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(warden.get("/migrations/1/history").await.status, 401);
    for path in ["/migrations/1/history", "/dashboard/api/migrations/1/history"] {
        let (status, json) = get(path).await;
        assert_eq!((status, turns(&json)), (200, vec!["- finished reported".to_owned()]), "{path}");
        let turn = &json["history"][0];
        assert_eq!((&turn["status"], &turn["run"]), (&json!("error"), &json!(1)));
    }
    for (path, status, part) in [
        ("/migrations/3/history", 404, "no migration 3"),
        ("/migrations/x/history", 400, "id:"),
        ("/nodes/x/history", 404, "no node 'x'"),
        ("/migrations/1/history?limit=0", 400, "limit:"),
        ("/migrations/1/history?limit=1001", 400, "limit:"),
        ("/migrations/1/history?before=yesterday", 400, "before:"),
    ] {
        let (found, json) = get(path).await;
        assert_eq!(found, status, "{path}");
        assert!(json["detail"].as_str().unwrap().contains(part), "{path}: {json}");
    }
    let told = cli(&warden, &["history", "migration", "2", "--output", "json"]);
    assert_eq!(told["history"][0]["status"], "success");
}

#[tokio::test]
async fn what_nobody_watched_is_neither_up_nor_down() {
    let wallet = Wallet::start().await;
    let mut warden = watching(node("n", wallet.port())).await;
    becomes(&warden, "n", "up", None).await;
    warden.sigterm();
    warden.wait_exit().await;
    let database = warden.database();
    let day = |ago: i64| (unix_now() - ago * 86_400) * 1000;
    db::execute(database, "DELETE FROM procwarden_events");
    db::execute(database, "DELETE FROM procwarden_watches");
    let id = &db::nodes(database)[0]["id"];
    for (seq, ago, state) in [(1, 10, "up"), (2, 5, "down"), (3, 4, "up")] {
        db::execute(
            database,
            &format!(
                "INSERT INTO procwarden_events (instance, seq, at, kind, subject_id, name, state) \
                 VALUES ('x', {seq}, {}, 'node', {id}, 'n', '{state}')",
                day(ago)
            ),
        );
    }
    for (since, until) in [(10, 8), (6, 0), (3, 2)] {
        db::execute(
            database,
            &format!(
                "INSERT INTO procwarden_watches (instance, since, until) VALUES ('x{since}', {}, {})",
                day(since),
                day(until)
            ),
        );
    }
    let uptime = &cli(&warden, &["history", "node", "n", "--output", "json"])["uptime"];
    let near = |period: &str, ratio: f64, unknown_days: i64| {
        let found = uptime[period]["ratio"].as_f64().unwrap();
        let unknown = uptime[period]["unknown_seconds"].as_i64().unwrap();
        assert!((found - ratio).abs() < 0.01, "{period}: {uptime}");
        assert!((unknown - unknown_days * 86_400).abs() < 600, "{period}: {uptime}");
    };
    near("24h", 1.0, 0);
    near("7d", 5.0 / 6.0, 1);
    near("30d", 7.0 / 8.0, 22);
}

async fn open(database: &Database) -> Store {
    let url = Password::new(database.url().to_owned());
    let settings = config::Database { url, ..config::Database::default() };
    Store::open(&settings, Open::Create).await.unwrap()
}

#[tokio::test]
async fn heartbeats_of_one_watch_are_one_span_and_a_gap_begins_another() {
    let database = Engine::current().fresh();
    let store = open(&database).await;
    let holder = Holder {
        name: "one".to_owned(),
        here: procwarden::domain::Here::default(),
        pid: 1,
        start_ticks: None,
        since: Timestamp(0),
        lease: Duration::from_secs(600),
    };
    let lease = store.take_name(&holder, None, false).await.unwrap().unwrap();
    let beat = async |secs: i64| {
        let swept = Some((Timestamp::from_secs(secs), procwarden::domain::Uptime(0)));
        let window = Duration::from_secs(100);
        let (swept_ago, tick_ms) = (Some(Duration::ZERO), 0);
        let beat = Beat { swept, swept_ago, tick_ms, window, nodes: 0, locks: 0 };
        store.beat(&lease, &beat).await.unwrap();
    };
    for secs in [1000, 1000, 1030, 1130, 1131, 1232, 1300] {
        beat(secs).await;
    }
    // A clock that was set back adds nothing.
    beat(1250).await;
    let spans = |since| {
        let (store, since) = (store.clone(), Timestamp::from_secs(since));
        async move {
            let mut spans = store.watches(since).await.unwrap();
            spans.sort_unstable();
            spans
        }
    };
    assert_eq!(spans(0).await, [(1_000_000, 1_131_000), (1_232_000, 1_300_000)]);
    assert_eq!(spans(1200).await, [(1_232_000, 1_300_000)]);
    store.close().await;
}

#[tokio::test]
async fn what_is_old_goes_in_steps_but_for_the_last_word_on_a_node() {
    let wallet = Wallet::start().await;
    let mut warden = watching(node("n", wallet.port())).await;
    becomes(&warden, "n", "up", None).await;
    warden.sigterm();
    warden.wait_exit().await;
    let database = warden.database();
    db::execute(database, "DELETE FROM procwarden_events");
    let id = db::nodes(database)[0]["id"].as_i64().unwrap();
    let events = [
        // The first two are old; the second of them is the last word before what is kept.
        (1, 10, "node", id),
        (2, 20, "node", id),
        (3, 200, "node", id),
        (4, 30, "migration", 1),
        (5, 40, "migration", 1),
        (6, 300, "migration", 1),
        // A node that was removed.
        (7, 50, "node", 999_999),
    ];
    for (seq, at, kind, subject) in events {
        db::execute(
            database,
            &format!(
                "INSERT INTO procwarden_events (instance, seq, at, kind, subject_id, name, state) \
                 VALUES ('x', {seq}, {at}, '{kind}', {subject}, 'n', 'up')"
            ),
        );
    }
    db::execute(
        database,
        "INSERT INTO procwarden_watches (instance, since, until) VALUES ('x', 5, 99)",
    );
    let store = open(database).await;
    let mut steps = 0;
    while store.prune_events(Timestamp(100), 2).await.unwrap() {
        steps += 1;
    }
    assert_eq!(steps, 2, "two at a time, and a step that finds none");
    let left: Vec<_> = db::events(database).iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(left, [json!(2), json!(3), json!(6)]);
    assert!(store.watches(Timestamp(0)).await.unwrap().iter().all(|(_, until)| *until >= 100));
    store.close().await;
}
