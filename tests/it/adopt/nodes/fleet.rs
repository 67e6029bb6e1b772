//! Several instances, and one under another name.

use super::*;

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
    let all = |it: &crate::support::Answer| (it.json["count"] == 3).then_some(());
    one.until("/nodes", SOON, all).await;
    // Until the other has put it back nobody has it; nobody may remove it at any time.
    crate::support::eventually(SOON, || async {
        let gone = two.delete("/nodes/late").await;
        assert!([404, 409].contains(&gone.status), "theirs, whoever asks: {:#}", gone.json);
        if gone.status == 409 { Ok(()) } else { Err(gone.json) }
    })
    .await;
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
