//! One row that cannot be written.

use super::*;

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
            findings.into_iter().find(|it| it["code"] == "write_failed")
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
    assert_eq!((of("write_failed"), of("denied")), (1, 0), "{report:#}");
    assert!(!warden.log().contains("not told how they are"), "{}", warden.log());
}
