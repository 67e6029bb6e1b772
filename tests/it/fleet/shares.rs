//! Nodes that every instance can reach are shared out; those of the dead are taken over.

use procwarden::domain::Timestamp;
use rustix::process::Signal;
use serde_json::json;

use super::looks::Looked;
use super::{SOON, anywhere, even, lists, member, owners, register, tells, turns};
use crate::nodes::{becomes, find, node};
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::{Wallet, Warden, db, eventually};

/// The turns alone, sorted.
fn sorted(turns: Vec<(String, String)>) -> Vec<String> {
    let mut turns: Vec<String> = turns.into_iter().map(|(turn, _)| turn).collect();
    turns.sort();
    turns
}

#[tokio::test]
async fn three_share_evenly_and_one_is_killed_and_returns() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let (a, mut b, c) = tokio::join!(
        Warden::start_on(&database, member("a")),
        Warden::start_on(&database, member("b")),
        Warden::start_on(&database, member("c")),
    );
    let (one, two, pinned) = tokio::join!(Wallet::start(), Wallet::start(), Wallet::start());
    let many = Looked::at(9);
    for (name, warden) in [("a", &a), ("b", &b), ("c", &c)] {
        many.knows(name, warden);
    }
    let by_the_rows = || {
        let owners = owners(&database);
        (0..9).map(|at| owners[&format!("many-{at}")].clone()).collect()
    };
    register(&a, many.anywhere("many")).await;
    register(&c, [anywhere("one", one.port()), anywhere("two", two.port())]).await;
    register(&b, [node("pinned", pinned.port())]).await;
    even(&database, &["a", "b", "c"]).await;
    for warden in [&a, &b, &c] {
        tells(warden, 12, 0).await;
    }
    assert_eq!(owners(&database)["pinned"], "b");
    many.are_looked_at_by(by_the_rows).await;
    assert_eq!(turns(&database), []);

    b.kill9();
    even(&database, &["a", "c"]).await;
    for warden in [&a, &c] {
        becomes(warden, "pinned", "unknown", Some("instance_lost")).await;
        tells(warden, 12, 1).await;
        lists(warden, "b", "lost").await;
        let shown = find(&warden.get("/nodes/status").await.json["nodes"], "pinned");
        assert_eq!((&shown["status"], &shown["live"]), (&json!(false), &json!(false)));
        let health = warden.get("/health?scope=fleet").await;
        assert_eq!((health.status, &health.json["working"]), (503, &json!(11)));
    }
    let row = db::nodes(&database).into_iter().find(|row| row["name"] == "pinned").unwrap();
    assert_eq!((&row["state"], &row["reason"]), (&json!("unknown"), &json!("instance_lost")));
    // Whoever recorded it, all tell the same of it.
    let since = json!(Timestamp(row["since"].as_i64().unwrap()).rfc3339());
    for warden in [&a, &c] {
        warden
            .until("/nodes/status", SOON, |answer| {
                (find(&answer.json["nodes"], "pinned")["since"] == since).then_some(())
            })
            .await;
    }
    many.are_looked_at_by(by_the_rows).await;
    assert_eq!(sorted(turns(&database)), ["pinned unknown"], "what was taken over did not turn");

    b.restart().await;
    many.knows("b", &b);
    even(&database, &["a", "b", "c"]).await;
    for warden in [&a, &b, &c] {
        becomes(warden, "pinned", "up", None).await;
        tells(warden, 12, 0).await;
    }
    many.are_looked_at_by(by_the_rows).await;
    assert_eq!(sorted(turns(&database)), ["pinned unknown", "pinned up"]);
}

/// The leases are far longer than the test waits: nobody's ends.
#[tokio::test]
async fn a_clean_stop_hands_over_at_once() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let long = |name: &str| member(name).set("instance.heartbeat", "2m");
    let (a, mut b) = tokio::join!(
        Warden::start_on(&database, long("a")),
        Warden::start_on(&database, long("b"))
    );
    let many = Looked::at(4);
    register(&a, many.anywhere("many")).await;
    even(&database, &["a", "b"]).await;
    tells(&a, 4, 0).await;
    assert_eq!(b.stop().await.code(), Some(0), "{}", b.log());
    even(&database, &["a"]).await;
    lists(&a, "b", "lost").await;
    let listed = a.cli(&["instances", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(find(&listed["instances"], "b")["state"], "lost");
    assert_eq!(find(&listed["instances"], "a")["state"], "live");
    tells(&a, 4, 0).await;
    assert_eq!(turns(&database), []);
}

/// It wakes with a view of long ago, and its checks that were under way end.
#[tokio::test]
async fn one_that_stood_still_says_nothing_of_nodes_that_are_no_longer_its() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let (a, mut b) = tokio::join!(
        Warden::start_on(&database, member("a")),
        Warden::start_on(&database, member("b"))
    );
    let many = Looked::at(6);
    register(&a, many.anywhere("many")).await;
    even(&database, &["a", "b"]).await;
    tells(&b, 6, 0).await;
    b.signal(Signal::STOP);
    even(&database, &["a"]).await;
    many.break_down(true);
    tells(&a, 6, 6).await;
    let down: Vec<(String, String)> =
        (0..6).map(|at| (format!("many-{at} down"), "a".to_owned())).collect();
    let is_recorded = || {
        let mut turns = turns(&database);
        turns.sort();
        if turns == down { Ok(()) } else { Err(format!("{turns:?}")) }
    };
    eventually(SOON, || async { is_recorded() }).await;
    b.signal(Signal::CONT);
    even(&database, &["a", "b"]).await;
    tells(&b, 6, 6).await;
    is_recorded().unwrap();
    assert!(b.is_running(), "{}", b.log());
    many.break_down(false);
    tells(&a, 6, 0).await;
    tells(&b, 6, 0).await;
    eventually(SOON, || async {
        let turns = turns(&database);
        let by = |name: &str| turns.iter().filter(|(_, who)| who == name).count();
        if (by("a"), by("b")) == (6 + 3, 3) { Ok(()) } else { Err(format!("{turns:?}")) }
    })
    .await;
}

/// One that stood still between its heartbeat and what it reads after it is gone to the others, until it says that it is
/// there: what it took over before that, they would take back.
#[tokio::test]
async fn one_that_stood_still_takes_nothing_before_it_is_heard() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let a = Warden::start_on(&database, member("a")).await;
    let many = Looked::at(6);
    register(&a, many.anywhere("many")).await;
    let stands = member("b").env("FAILPOINTS", "after-beat=4*off->1*sleep(10000)");
    let b = Warden::start_on(&database, stands).await;
    lists(&a, "b", "lost").await;
    even(&database, &["a"]).await;
    let before = epochs(&database);
    lists(&a, "b", "live").await;
    even(&database, &["a", "b"]).await;
    for warden in [&a, &b] {
        tells(warden, 6, 0).await;
    }
    let beaten = beats(&database);
    eventually(SOON, || async {
        let now = beats(&database);
        let twice = now.iter().zip(&beaten).all(|(now, then)| now - then > 2_000);
        if twice { Ok(()) } else { Err(format!("{now:?}, {beaten:?}")) }
    })
    .await;
    even(&database, &["a", "b"]).await;
    let moved =
        epochs(&database).iter().zip(&before).map(|(now, then)| now - then).collect::<Vec<_>>();
    assert_eq!((moved.iter().sum::<i64>(), moved.iter().max()), (3, Some(&1)), "{moved:?}");
}

/// How often each node has changed hands, in the order of their ids.
fn epochs(database: &Database) -> Vec<i64> {
    numbers(database, "SELECT owner_epoch AS n FROM procwarden_nodes ORDER BY id")
}

/// When each instance was heard last, by the database's clock, in the order of their names.
fn beats(database: &Database) -> Vec<i64> {
    numbers(database, "SELECT last_beat AS n FROM procwarden_instances ORDER BY name")
}

fn numbers(database: &Database, sql: &str) -> Vec<i64> {
    db::query(database, sql).iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

/// Heartbeats come as often as they are told to, also more than once a second.
#[tokio::test]
async fn a_short_lease_holds() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let warden = Warden::start_on(&database, member("a").set("instance.heartbeat", "200ms")).await;
    let beat = || {
        let row = db::query(&database, "SELECT last_beat, expires_at FROM procwarden_instances");
        (row[0]["last_beat"].as_i64().unwrap(), row[0]["expires_at"].as_i64().unwrap())
    };
    let (mut in_time, mut known) = (0, beat());
    for _ in 0..12 {
        let next = eventually(SOON, || async {
            let now = beat();
            if now.0 > known.0 { Ok(now) } else { Err("no heartbeat") }
        })
        .await;
        in_time += usize::from(next.0 < known.1);
        known = next;
    }
    assert!(in_time > 6, "{in_time} of 12 came before the one before had ended");
    drop(warden);
}
