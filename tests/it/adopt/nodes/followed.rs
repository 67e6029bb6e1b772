//! What changes in their table is followed.

use super::*;

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
