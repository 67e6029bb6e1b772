//! What a start asks of the settings, their table and our registry.

use super::*;

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
