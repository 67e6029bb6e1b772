//! A PostgreSQL primary with a streaming replica, behind HAProxy: the primary is killed, the replica promoted.

use super::own::DATABASE;
use super::scene::{Scene, config};
use super::writes::Writes;
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::haproxy::HaProxy;
use crate::support::postgres;

/// A commit returns, and is seen by others, once the replica has it (`synchronous_commit` is on, and the replica is in
/// `synchronous_standby_names`): what was seen or acknowledged before the kill must stand after it.
#[tokio::test]
#[ignore = "slow: two servers, a proxy and a promotion"]
async fn a_promoted_replica_has_all_that_was_acknowledged() {
    if !engine::is(Engine::Postgres) {
        return;
    }
    let mut primary = postgres::Server::start();
    primary.sql("", &format!("CREATE DATABASE {DATABASE}"));
    let replica = primary.replica();
    primary.commit_with_replica();
    let proxy = HaProxy::of_postgres(&[primary.port(), replica.port()]);
    proxy.until_up(&[primary.port()]);
    let mut scene = Scene::begin(config(&proxy.url(DATABASE))).await;
    scene.flip(5).await;
    let writes = Writes::default();
    let kill = async {
        writes.more(20).await;
        primary.kill9();
        scene.away().await;
        writes.end();
    };
    tokio::join!(writes.run(&scene.warden), kill);
    scene.act().await;
    replica.promote();
    proxy.until_up(&[replica.port()]);
    scene.end().await;
    writes.stand(&Database::at(replica.url(DATABASE)));
    scene.goes_on().await;
}
