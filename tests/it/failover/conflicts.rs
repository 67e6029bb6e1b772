//! Two transactions want each other's rows: the whole of ours is tried again.

use super::own::Own;
use super::scene::{Scene, config};

/// The other has the nodes' rows and wants the instance's, which ours has; when ours waits, the ring is closed.
const POSTGRES: &str = "BEGIN; SET LOCAL deadlock_timeout = '30s'; UPDATE procwarden_nodes SET title = 'held'; \
    DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$; \
    UPDATE procwarden_instances SET version = version; COMMIT";
/// What `InnoDB` tells of transactions stays as it is while it is asked more often than every 100 ms.
const MARIADB: &str = "START TRANSACTION; UPDATE procwarden_nodes SET title = 'held'; \
    BEGIN NOT ATOMIC WHILE (SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT') = 0 \
    DO DO SLEEP(0.2); END WHILE; END; \
    UPDATE procwarden_instances SET version = CONCAT(version, ''); COMMIT";

#[tokio::test]
async fn a_deadlock_is_tried_again_as_a_whole() {
    let Some(server) = Own::start() else { return };
    let config = config(&server.url()).set("database.statement_timeout", "10s");
    let mut scene = Scene::begin(config).await;
    let statements = if server.is_postgres() { POSTGRES } else { MARIADB };
    let before = deadlocks(&server);
    let url = server.admin_url();
    let other = std::thread::spawn(move || crate::support::sql::execute(&url, statements));
    scene.falls.off().await;
    scene.recorded([("falls", "down"), ("blinks", "up"), ("stays", "up")]).await;
    // The victim was ours.
    other.join().unwrap().unwrap();
    assert_eq!(deadlocks(&server), before + 1, "{}", scene.warden.log());
    scene.fell();
    let log = scene.warden.log();
    assert!(!log.contains("the database fails"), "{log}");
    scene.goes_on().await;
}

fn deadlocks(server: &Own) -> usize {
    if server.is_postgres() {
        return server.log().matches("deadlock detected").count();
    }
    let rows = server.sql("", "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
    rows[0]["Value"].as_str().unwrap().parse().unwrap()
}
