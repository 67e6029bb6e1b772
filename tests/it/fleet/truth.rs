//! Whichever instance is asked tells of the whole fleet.

use serde_json::{Value, json};

use super::looks::Looked;
use super::{SHOWN, acquainted, member, register, tells, turns};
use crate::migrations::{line, wait};
use crate::nodes::{becomes, find, node};
use crate::support::engine::{self, Engine};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Answer, Warden, db};

async fn two() -> [Warden; 2] {
    let database = Engine::current().fresh();
    // The jobs of these tests are nobody else's on this machine: whoever sees a process takes its job.
    let calm = |name: &str| member(name).set("migrations.grace", "600s");
    let (a, b) = tokio::join!(
        Warden::start_on(&database, calm("a")),
        Warden::start_on(&database, calm("b"))
    );
    acquainted(&[&a, &b]).await;
    [a, b]
}

#[tokio::test]
async fn what_one_records_of_a_node_the_other_shows() {
    if !engine::is_shared() {
        return;
    }
    let [a, b] = two().await;
    let looked = Looked::at(1);
    for (name, warden) in [("a", &a), ("b", &b)] {
        looked.knows(name, warden);
    }
    register(&a, [node("n", looked.port(0))]).await;
    becomes(&b, "n", "up", None).await;
    let listed = |answer: &Answer| find(&answer.json["nodes"], "n");
    let shown = |state: &'static str| {
        move |answer: &Answer| (listed(answer)["state"] == state).then(|| listed(answer))
    };
    let of_a = a.until("/nodes/status", SHOWN, shown("up")).await;
    let mut of_b = b.until("/nodes/status", SHOWN, shown("up")).await;
    assert_eq!(of_b["live"], false);
    // Only the time of the last look may lag: it is vouched for, not written.
    of_b["last_check"] = of_a["last_check"].clone();
    of_b["latency_ms"] = of_a["latency_ms"].clone();
    assert_eq!(of_a, of_b);

    for (broken, state, code) in [(true, "down", 503), (false, "up", 200)] {
        looked.break_down(broken);
        a.until("/nodes/status", super::SOON, shown(state)).await;
        b.until("/nodes/status", SHOWN, shown(state)).await;
        for path in ["/health?scope=fleet", "/nodes/n/health"] {
            let is_told = |answer: &Answer| (answer.status == code).then_some(());
            b.until(path, SHOWN, is_told).await;
            a.until(path, SHOWN, is_told).await;
        }
    }
    assert_eq!(
        turns(a.database()),
        [("n down", "a"), ("n up", "a")].map(|(turn, who)| { (turn.to_owned(), who.to_owned()) })
    );

    let asked = b.get("/nodes/n/status").await.json;
    assert_eq!((&asked["status"], &asked["details"]["live"]), (&json!(true), &json!(false)));
    let live = b.get("/nodes/status?method=api").await;
    assert_eq!(listed(&live)["live"], false, "{:#}", live.json);
    let live = a.get("/nodes/status?method=api").await;
    assert_eq!(listed(&live)["live"], true, "{:#}", live.json);
    looked.are_looked_at_by(|| vec!["a".to_owned()]).await;

    let health = b.get("/health").await;
    let expected = json!({"status": "healthy", "working": 0, "total": 0, "note": "no_nodes_here"});
    assert_eq!((health.status, health.json), (200, expected));
    let health = a.get("/health").await.json;
    assert_eq!((&health["total"], health.get("note")), (&json!(1), None));
    tells(&b, 1, 0).await;
}

/// The same of a migration's list entry, without what only its own instance says.
fn comparable(row: &Value) -> Value {
    let mut row = row.clone();
    row.as_object_mut().unwrap().remove("live");
    row
}

#[tokio::test]
async fn what_one_records_of_a_migration_the_other_shows() {
    if !engine::is_shared() {
        return;
    }
    let [a, b] = two().await;
    let job = Program::sleeper(a.dir());
    let path = Lock::new(1, job.pid()).write(&a.lock_dir());
    let of_a = wait(&a, 1, "in_progress alive - run1").await;
    let of_b = wait(&b, 1, "in_progress alive - run1").await;
    assert_eq!((of_a.get("live"), of_b.get("live")), (None, Some(&json!(false))));
    assert_eq!(comparable(&of_a), comparable(&of_b));
    let process = b.get("/migrations/1/process").await.json;
    assert_eq!(process.pointer("/live").or(process.pointer("/data/live")), Some(&json!(false)));

    let refused = b.delete("/migrations/1/lock").await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        (&refused.json["code"], &refused.json["instance"]),
        (&json!("not_here"), &json!("a"))
    );
    assert!(path.exists());

    // The runner need not know who watches it.
    let reported = b.patch("/migrations/1", &job::report("success")).await;
    assert_eq!(reported.status, 200, "{:#}", reported.json);
    for warden in [&a, &b] {
        warden
            .until("/migrations", SHOWN, |answer| {
                let row = &answer.json["data"][0];
                (line(row) == "success finished reported run1").then_some(())
            })
            .await;
    }
    let again = a.patch("/migrations/1", &job::report("error")).await;
    assert_eq!((again.status, &again.json["code"]), (409, &json!("already_finished")));
    drop(job);
    std::fs::remove_file(path).unwrap();
    crate::migrations::ticks_pass(&a).await;
    let events = db::events_of(a.database(), "migration");
    let its: Vec<&Value> = events.iter().filter(|event| event["name"] == job::uuid(1)).collect();
    assert_eq!(its.len(), 1, "{its:?}");
    assert_eq!((&its[0]["status"], &its[0]["instance"]), (&json!("success"), &json!("b")));
}

/// One that has no lock directory tells the record all the same.
#[tokio::test]
async fn an_instance_without_locks_shows_what_the_others_watch() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut without = Warden::prepare_on(&database, member("b"));
    without.reconfigure(|config| config.set("migrations.lock_dir", Value::Null));
    let a = Warden::start_on(&database, member("a")).await;
    let job = Program::sleeper(a.dir());
    Lock::new(1, job.pid()).write(&a.lock_dir());
    wait(&a, 1, "in_progress alive - run1").await;
    without.launch();
    without.ready().await;
    let row = wait(&without, 1, "in_progress alive - run1").await;
    assert_eq!(row["live"], false);
    a.patch("/migrations/1", &job::report("completed")).await;
    wait(&without, 1, "completed finished reported run1").await;
}
