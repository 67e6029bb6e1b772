//! The server answers, and refuses: it is read-only, or has no place left.

use super::own::Own;
use super::scene::{Scene, config};
use crate::support::sql;

#[tokio::test]
async fn read_only_and_back() {
    let Some(server) = Own::start() else { return };
    let mut scene = Scene::begin(config(&server.url())).await;
    read_only(&server, true);
    scene.act().await;
    let log = scene.warden.log();
    assert_eq!(log.matches("the database is read-only").count(), 1, "said once: {log}");
    read_only(&server, false);
    scene.end().await;
    scene.goes_on().await;
}

fn read_only(server: &Own, is: bool) {
    if server.is_postgres() {
        let on = if is { "on" } else { "off" };
        server.sql("", &format!("ALTER SYSTEM SET default_transaction_read_only = {on}"));
        server.sql("", "SELECT pg_reload_conf()");
    } else {
        server.sql("", &format!("SET GLOBAL read_only = {}", i32::from(is)));
    }
}

#[tokio::test]
async fn no_place_for_another_connection() {
    let Some(server) = Own::start() else { return };
    let url = plain_user(&server);
    let mut scene = Scene::begin(config(&url)).await;
    let others = exhaust(&server);
    scene.act().await;
    free(&server, others);
    scene.end().await;
    scene.goes_on().await;
}

/// A user that the server's limit binds.
fn plain_user(server: &Own) -> String {
    if !server.is_postgres() {
        return server.url();
    }
    server.sql("", "CREATE ROLE plain LOGIN");
    server.sql("", "ALTER DATABASE d OWNER TO plain");
    server.url().replace("postgres@", "plain@")
}

/// Others have every place, and the service loses those that it has.
fn exhaust(server: &Own) -> Vec<sql::Held> {
    if server.is_postgres() {
        // The code is the same as for the server's own limit.
        server.sql("", "ALTER ROLE plain CONNECTION LIMIT 0");
        server.sql(
            "",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain'",
        );
        return Vec::new();
    }
    let others = (0..10).map(|_| server.hold_as_admin("SELECT 1")).collect();
    // The least that it takes; one place more is the administrator's.
    server.sql("", "SET GLOBAL max_connections = 10; KILL USER warden@'127.0.0.1'");
    others
}

fn free(server: &Own, others: Vec<sql::Held>) {
    if server.is_postgres() {
        server.sql("", "ALTER ROLE plain CONNECTION LIMIT -1");
    } else {
        server.sql("", "SET GLOBAL max_connections = 500");
    }
    drop(others);
}
