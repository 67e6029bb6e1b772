//! The node's field `instance`, written through whichever instance is at hand.

use serde_json::{Value, json};

use super::looks::Looked;
use super::{SOON, member, owners, register, tells, turns};
use crate::nodes::{becomes, data, node, node_with};
use crate::support::engine::{self, Engine};
use crate::support::{Warden, eventually};

struct Bench {
    wardens: [Warden; 3],
    looked: Looked,
}

impl Bench {
    async fn start() -> Self {
        let (database, looked) = (Engine::current().fresh(), Looked::at(1));
        let (a, b, c) = tokio::join!(
            Warden::start_on(&database, member("a")),
            Warden::start_on(&database, member("b")),
            Warden::start_on(&database, member("c")),
        );
        let wardens = [a, b, c];
        for (name, warden) in ["a", "b", "c"].into_iter().zip(&wardens) {
            looked.knows(name, warden);
        }
        Self { wardens, looked }
    }

    /// Waits until this one alone looks at the node, every instance says so, and it works.
    async fn is_looked_at_by(&self, name: &str) {
        eventually(SOON, || async {
            let owners = owners(self.wardens[0].database());
            if owners["n"] == name { Ok(()) } else { Err(format!("{owners:?}")) }
        })
        .await;
        for warden in &self.wardens {
            warden
                .until("/nodes/n", SOON, |answer| {
                    (data(&answer.json)["owner"] == name).then_some(())
                })
                .await;
            becomes(warden, "n", "up", None).await;
            tells(warden, 1, 0).await;
        }
        self.looked.are_looked_at_by(|| vec![name.to_owned()]).await;
    }

    /// Places the node through the instance with this number.
    async fn place(&self, through: usize, instance: Value) -> Value {
        let answer = self.wardens[through].patch("/nodes/n", &json!({"instance": instance})).await;
        assert_eq!(answer.status, 200, "{:#}", answer.json);
        data(&answer.json).clone()
    }
}

#[tokio::test]
async fn a_node_goes_where_its_operator_says() {
    if !engine::is_shared() {
        return;
    }
    let bench = Bench::start().await;
    let [a, b, _] = &bench.wardens;
    register(a, [node_with("n", bench.looked.port(0), json!({"instance": "b"}))]).await;
    bench.is_looked_at_by("b").await;
    let placed = bench.place(0, json!("c")).await;
    assert_eq!(placed["instance"], "c");
    bench.is_looked_at_by("c").await;
    // On loopback it belongs to the one it was registered with.
    let placed = bench.place(1, Value::Null).await;
    assert_eq!(placed["instance"], "a");
    bench.is_looked_at_by("a").await;
    let placed = bench.place(2, json!("any")).await;
    assert_eq!(placed["instance"], "any");
    bench.is_looked_at_by("a").await;
    assert_eq!(turns(a.database()), [], "a move is no turn");

    let gone = b.delete("/nodes/n").await;
    assert_eq!(gone.status, 200, "{:#}", gone.json);
    for warden in &bench.wardens {
        tells(warden, 0, 0).await;
    }
}

#[tokio::test]
async fn a_node_of_an_instance_that_nobody_knows_is_nobodys() {
    if !engine::is_shared() {
        return;
    }
    let bench = Bench::start().await;
    let [a, b, _] = &bench.wardens;
    register(a, [node_with("n", bench.looked.port(0), json!({"instance": "nobody"}))]).await;
    for warden in &bench.wardens {
        becomes(warden, "n", "unknown", Some("instance_lost")).await;
    }
    let edit = b.patch("/nodes/n", &json!({"available": false})).await;
    assert_eq!(edit.status, 200, "{:#}", edit.json);
    for warden in &bench.wardens {
        tells(warden, 0, 0).await;
    }
    let edit = b.patch("/nodes/n", &json!({"available": true, "instance": null})).await;
    assert_eq!(edit.status, 200, "{:#}", edit.json);
    bench.is_looked_at_by("a").await;
}

#[tokio::test]
async fn one_on_loopback_is_its_registrars_and_one_elsewhere_anybodys() {
    if !engine::is_shared() {
        return;
    }
    let bench = Bench::start().await;
    let [a, b, _] = &bench.wardens;
    register(b, [node("n", bench.looked.port(0))]).await;
    bench.is_looked_at_by("b").await;
    let remote = json!({"host": "192.0.2.1", "available": false});
    register(b, [node_with("far", 1, remote.clone()), node_with("near", 1, json!({"pid": 1}))])
        .await;
    let mut with_pid = remote;
    with_pid["pid"] = json!(1);
    register(b, [node_with("far-pid", 1, with_pid)]).await;
    for (name, instance) in [("far", "any"), ("near", "b"), ("far-pid", "b")] {
        a.until(&format!("/nodes/{name}"), SOON, |answer| {
            (data(&answer.json)["instance"] == instance).then_some(())
        })
        .await;
    }
}

/// Each has a file of its own; what the others' files brought is theirs.
#[tokio::test]
async fn an_instance_prunes_what_its_own_file_brought() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let pruning = |name: &str| member(name).set("nodes.prune", true);
    let mut a = Warden::start_on(&database, pruning("a").node(node("of-a", 1))).await;
    let mut b = Warden::start_on(&database, pruning("b").node(node("of-b", 1))).await;
    assert_eq!(owners(&database).len(), 2, "{:?}", owners(&database));
    b.reconfigure(|_| pruning("b").node(node("new-of-b", 1)));
    b.restart().await;
    assert_eq!(owners(&database).into_keys().collect::<Vec<_>>(), ["new-of-b", "of-a"]);
    // Nobody else speaks for one that was forgotten.
    a.stop().await;
    let output = b.cli(&["instances", "forget", "a"]);
    assert!(output.status.success(), "{output:?}");
    b.restart().await;
    assert_eq!(owners(&database).into_keys().collect::<Vec<_>>(), ["new-of-b"]);
}
