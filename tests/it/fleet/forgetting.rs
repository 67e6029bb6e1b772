//! An instance that will not come back: its nodes leave the counts until somebody takes them.

use serde_json::{Value, json};

use super::looks::Looked;
use super::{SOON, ended, even, member, owners, register, tells, turns};
use crate::nodes::{becomes, data, find, node};
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::{Warden, WardenConfig, eventually};

/// Two instances; `b` has the node `pinned` and its part of two more, all of them working.
async fn two(
    database: &Database,
    looked: &Looked,
    config: fn(&str) -> WardenConfig,
) -> [Warden; 2] {
    let (a, b) = tokio::join!(
        Warden::start_on(database, config("a")),
        Warden::start_on(database, config("b"))
    );
    register(&b, [node("pinned", looked.port(0))]).await;
    register(&a, [super::anywhere("one", looked.port(1)), super::anywhere("two", looked.port(2))])
        .await;
    even(database, &["a", "b"]).await;
    tells(&a, 3, 0).await;
    [a, b]
}

/// What this instance tells of the fleet's health: working, total.
async fn counts(warden: &Warden) -> (Value, Value) {
    let health = warden.get("/health?scope=fleet").await.json;
    (health["working"].clone(), health["total"].clone())
}

async fn is_not_counted(warden: &Warden) {
    tells(warden, 2, 0).await;
    assert_eq!(counts(warden).await, (json!(2), json!(2)));
    let list = warden.get("/nodes/status").await.json["nodes"].clone();
    assert_eq!(find(&list, "pinned"), Value::Null);
    let shown = warden.get("/nodes/pinned").await.json;
    assert_eq!((&data(&shown)["owner"], &data(&shown)["state"]), (&Value::Null, &json!("unknown")));
}

#[tokio::test]
async fn a_lost_one_is_forgotten_and_returns() {
    if !engine::is_shared() {
        return;
    }
    let (database, looked) = (Engine::current().fresh(), Looked::at(3));
    let [a, mut b] = two(&database, &looked, member).await;
    let forget = |words: &[&str]| ended(&a.cli(&[&["instances", "forget"], words].concat()));
    let (code, said) = forget(&["b"]);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("'b' is live"), "{said}");
    assert_eq!(forget(&["nobody"]).0, 2);
    b.kill9();
    becomes(&a, "pinned", "unknown", Some("instance_lost")).await;
    even(&database, &["a"]).await;
    assert_eq!(forget(&["b"]), (0, "b forgotten; 1 node released\n".to_owned()));
    is_not_counted(&a).await;
    let listed = a.get("/instances").await.json;
    assert_eq!(find(&listed["instances"], "b"), Value::Null);
    assert_eq!(owners(&database)["pinned"], "");

    b.restart().await;
    for warden in [&a, &b] {
        becomes(warden, "pinned", "up", None).await;
        tells(warden, 3, 0).await;
    }
    let mut turned: Vec<String> = turns(&database).into_iter().map(|(turn, _)| turn).collect();
    turned.sort();
    assert_eq!(turned, ["pinned unknown", "pinned up"]);
}

#[tokio::test]
async fn its_nodes_are_moved_to_another() {
    if !engine::is_shared() {
        return;
    }
    let (database, looked) = (Engine::current().fresh(), Looked::at(3));
    let [a, mut b] = two(&database, &looked, member).await;
    looked.knows("a", &a);
    let placed = a.patch("/nodes/one", &json!({"instance": "b"})).await;
    assert_eq!(placed.status, 200, "{:#}", placed.json);
    eventually(SOON, || async {
        let owners = owners(&database);
        if owners["one"] == "b" { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await;
    b.kill9();
    becomes(&a, "pinned", "unknown", Some("instance_lost")).await;
    becomes(&a, "one", "unknown", Some("instance_lost")).await;
    even(&database, &["a"]).await;
    let forgotten = ended(&a.cli(&["instances", "forget", "b", "--move-to", "a"]));
    assert_eq!(forgotten, (0, "b forgotten; 2 nodes moved to a\n".to_owned()));
    for name in ["pinned", "one"] {
        becomes(&a, name, "up", None).await;
        let shown = a.get(&format!("/nodes/{name}")).await.json;
        assert_eq!((&data(&shown)["owner"], &data(&shown)["instance"]), (&json!("a"), &json!("a")));
    }
    tells(&a, 3, 0).await;
    looked.are_looked_at_by(|| vec!["a".to_owned(); 3]).await;
}

#[tokio::test]
async fn after_a_while_it_is_forgotten_by_the_others() {
    if !engine::is_shared() {
        return;
    }
    let (database, looked) = (Engine::current().fresh(), Looked::at(3));
    let short = |name: &str| member(name).set("instances.forget_after", "3s");
    let [a, mut b] = two(&database, &looked, short).await;
    b.kill9();
    a.until("/instances", SOON, |answer| {
        find(&answer.json["instances"], "b").is_null().then_some(())
    })
    .await;
    is_not_counted(&a).await;
    assert_eq!(a.log().matches("lost for long, forgotten").count(), 1, "{}", a.log());
    b.restart().await;
    tells(&a, 3, 0).await;
    tells(&b, 3, 0).await;
}
