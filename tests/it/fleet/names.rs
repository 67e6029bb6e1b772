//! One name, one instance: a name is a lease on the database's clock.

use serde_json::{Value, json};

use super::{SOON, ended, lists, member, tells};
use crate::nodes::node;
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::{Warden, WardenConfig, db, eventually};

/// As if another machine had written it: what its PID is cannot be told here.
const ELSEWHERE: &str = "UPDATE procwarden_instances SET boot_id = 'another', host_id = 'another'";

/// A lease that no test waits for.
fn long(name: &str) -> WardenConfig {
    member(name).set("instance.heartbeat", "2m")
}

fn row(database: &Database) -> Value {
    db::query(database, "SELECT * FROM procwarden_instances").remove(0)
}

/// A column of a row as a number.
fn moment(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap()
}

/// Starts one that is refused; what it said.
async fn refused(database: &Database, config: WardenConfig) -> String {
    let mut second = Warden::prepare_on(database, config);
    second.launch();
    assert_eq!(second.wait_exit().await.code(), Some(75), "{}", second.log());
    second.log()
}

async fn waits(warden: &Warden) {
    eventually(SOON, || async {
        let log = warden.log();
        if log.contains("its lease is waited for") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn a_second_one_is_told_who_has_the_name() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut first = Warden::start_on(&database, member("a")).await;
    let epoch = row(&database)["epoch"].clone();
    let said = refused(&database, member("a")).await;
    for part in ["'a' runs already".to_owned(), format!("PID {}", first.pid())] {
        assert!(said.contains(&part), "{part} is not in {said}");
    }
    // The same where its PID says nothing: it goes on with its heartbeats.
    db::execute(&database, ELSEWHERE);
    let said = refused(&database, member("a")).await;
    assert!(said.contains("runs already") && said.contains("host another"), "{said}");
    assert!(first.is_running());
    assert_eq!(row(&database)["epoch"], epoch, "nobody else had it");
}

#[tokio::test]
async fn after_a_kill_on_this_host_the_name_is_taken_at_once() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut first = Warden::start_on(&database, long("a").node(node("n", 1))).await;
    tells(&first, 1, 1).await;
    let before = row(&database);
    first.kill9();
    let second = Warden::start_on(&database, long("a").node(node("n", 1))).await;
    assert!(moment(&row(&database), "epoch") > moment(&before, "epoch"));
    tells(&second, 1, 1).await;
    assert!(!second.log().contains("waited for"), "{}", second.log());
}

#[tokio::test]
async fn elsewhere_the_lease_is_waited_for() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut first = Warden::start_on(&database, member("a").set("instance.heartbeat", "2s")).await;
    first.kill9();
    db::execute(&database, ELSEWHERE);
    let before = row(&database);
    let mut second = Warden::prepare_on(&database, member("a"));
    second.launch();
    waits(&second).await;
    second.ready().await;
    let after = row(&database);
    assert!(moment(&after, "epoch") > moment(&before, "epoch"), "{before} {after}");
    assert!(moment(&after, "last_beat") >= moment(&before, "expires_at"), "{before} {after}");
    assert_eq!(after["pid"], json!(second.pid()));
}

#[tokio::test]
async fn who_waits_for_a_name_can_be_stopped() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut first = Warden::start_on(&database, long("a")).await;
    first.kill9();
    db::execute(&database, ELSEWHERE);
    let before = row(&database);
    let mut second = Warden::prepare_on(&database, long("a"));
    second.launch();
    waits(&second).await;
    assert_eq!(second.stop().await.code(), Some(0), "{}", second.log());
    assert_eq!(row(&database), before, "nothing was taken");
}

#[tokio::test]
async fn after_a_clean_stop_the_name_is_free() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut first = Warden::start_on(&database, long("a")).await;
    first.stop().await;
    db::execute(&database, ELSEWHERE);
    let second = Warden::start_on(&database, long("a")).await;
    assert!(!second.log().contains("waited for"), "{}", second.log());
    lists(&second, "a", "live").await;
}

#[tokio::test]
async fn who_lost_its_name_ends() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let mut warden = Warden::start_on(&database, member("a")).await;
    db::execute(&database, "UPDATE procwarden_instances SET epoch = epoch + 1");
    let before = row(&database);
    assert_eq!(warden.wait_exit().await.code(), Some(75), "{}", warden.log());
    assert!(warden.log().contains("'a' was taken over by another instance"), "{}", warden.log());
    let after = row(&database);
    assert_eq!(before["epoch"], after["epoch"]);
    assert_ne!(after["expires_at"], 0, "it does not say goodbye in another's name");
}

/// The same configuration on every host.
#[tokio::test]
async fn first_starts_with_the_same_nodes_all_succeed() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let names = ["a", "b", "c", "d"];
    let mut wardens: Vec<Warden> = Vec::new();
    for name in names {
        let config = (1..=20).fold(member(name), |config, at| {
            config.node(crate::nodes::node_with(
                &format!("n-{at}"),
                1,
                json!({"instance": "any", "host": "127.0.0.1"}),
            ))
        });
        wardens.push(Warden::prepare_on(&database, config));
    }
    wardens.iter_mut().for_each(Warden::launch);
    for warden in &mut wardens {
        warden.ready().await;
    }
    super::even(&database, &names).await;
    for warden in &wardens {
        tells(warden, 20, 20).await;
    }
    let (code, said) = ended(&wardens[0].cli(&["instances"]));
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("live").count(), names.len(), "{said}");
}
