//! What may be written, and by whom.

use super::*;
use crate::support::theirs;

/// A user who may do all with our tables and only read theirs: the URL, and who it is in a GRANT.
fn reader(theirs: &Theirs) -> (String, String) {
    let url = theirs.database.url();
    let name = url.rsplit('/').next().unwrap().replace("test_", "reader_");
    if theirs.database.engine() == Engine::Postgres {
        theirs.sql(&format!(
            "CREATE ROLE {name} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {name}; \
             GRANT SELECT ON monero_nodes TO {name}"
        ));
        return (url.replace("postgres@", &format!("{name}@")), name);
    }
    let (user, server) = (format!("{name}@'127.0.0.1'"), engine::mariadb_server());
    let schema = url.rsplit('/').next().unwrap();
    server.sql("", &format!("CREATE USER {user} IDENTIFIED BY 'pw'"));
    server.sql("", &format!("GRANT SELECT ON {schema}.monero_nodes TO {user}"));
    for table in theirs::ours() {
        let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX";
        server.sql("", &format!("GRANT {rights} ON {schema}.{table} TO {user}"));
    }
    (url.replace("warden:hunter2@", &format!("{name}:pw@")), user)
}

fn administer(theirs: &Theirs, statement: &str) {
    match theirs.database.engine() {
        Engine::MySql => drop(engine::mariadb_server().sql("", statement)),
        _ => theirs.sql(statement),
    }
}

#[tokio::test]
async fn in_shadow_nothing_is_written() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    let before = theirs.rows();
    let mut config = config("shadow");
    if theirs.database.engine() != Engine::Sqlite {
        config = config.set("database.url", reader(&theirs).0);
    }
    let warden = Warden::start_on(&theirs.database, config).await;
    becomes(&warden, "a", "up", None).await;
    // A round of reading later.
    theirs.add(2, "b", wallet.port());
    becomes(&warden, "b", "up", None).await;
    theirs.sql("DELETE FROM monero_nodes WHERE id = 2");
    until_gone(&warden, "/nodes/2").await;
    assert_eq!(theirs.rows(), before);
    assert!(!warden.log().contains("not told"), "{}", warden.log());
}

#[tokio::test]
async fn the_right_to_write_two_columns_is_enough_and_without_it_that_is_said_once() {
    if engine::is(Engine::Sqlite) {
        println!("nothing to show: a file has no rights by column");
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(1, "a", wallet.port());
    theirs.add(2, "b", ports::free_port());
    let before = theirs.rows();
    let (url, user) = reader(&theirs);
    let mut warden =
        Warden::start_on(&theirs.database, config("write").set("database.url", url)).await;
    becomes(&warden, "a", "up", None).await;
    eventually(SOON, || async {
        let log = warden.log();
        if log.contains("may not be written") && log.contains("GRANT") { Ok(()) } else { Err(log) }
    })
    .await;
    becomes(&warden, "b", "down", Some("port_closed")).await;
    assert_eq!(warden.log().matches("may not be written").count(), 1, "{}", warden.log());
    assert_eq!(theirs.rows(), before);

    let schema = theirs.database.url().rsplit('/').next().unwrap().to_owned();
    let table = match theirs.database.engine() {
        Engine::MySql => format!("{schema}.monero_nodes"),
        _ => "monero_nodes".to_owned(),
    };
    administer(&theirs, &format!("GRANT UPDATE (worked, worked_data) ON {table} TO {user}"));
    warden.restart().await;
    theirs.until_told(1, true).await;
    theirs.until_told(2, false).await;
}

#[tokio::test]
async fn a_column_that_would_change_by_itself_stays() {
    if !engine::is(Engine::MySql) {
        println!("nothing to show: no column changes by itself here");
        return;
    }
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.sql(
        "ALTER TABLE monero_nodes MODIFY updated_at timestamp NOT NULL DEFAULT current_timestamp() \
         ON UPDATE current_timestamp()",
    );
    theirs.add(1, "a", wallet.port());
    let before = theirs.untouched();
    let _warden = adopting(&theirs, "write").await;
    theirs.until_told(1, true).await;
    assert_eq!(theirs.untouched(), before);
}
