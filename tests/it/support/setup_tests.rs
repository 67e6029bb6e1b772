//! Servers together: a replica that is promoted, a cluster that loses a node, proxies before them.

use std::time::Duration;

use serde_json::json;

use super::engine::{self, Engine};
use super::galera::Galera;
use super::haproxy::HaProxy;
use super::pgbouncer::PgBouncer;
use super::poll::eventually_sync;
use super::{postgres, sql};

/// Longest wait for a change of the server in use.
const FAILOVER: Duration = Duration::from_mins(1);

fn ids(url: &str) -> Vec<serde_json::Value> {
    sql::rows(url, "SELECT id FROM t ORDER BY id").unwrap()
}

/// Through the proxy, again and again until it is taken.
fn insert(proxy: &HaProxy, db: &str, id: i64) {
    eventually_sync(FAILOVER, || {
        sql::execute(&proxy.url(db), &format!("INSERT INTO t VALUES ({id})"))
    });
}

#[test]
fn a_replica_takes_over_behind_haproxy_and_nothing_is_lost() {
    if !engine::is(Engine::Postgres) {
        return;
    }
    let mut primary = postgres::Server::start();
    let replica = primary.replica();
    primary.commit_with_replica();
    assert!(replica.is_replica() && !primary.is_replica());
    let proxy = HaProxy::of_postgres(&[primary.port(), replica.port()]);
    proxy.until_up(&[primary.port()]);
    sql::execute(&proxy.url(""), "CREATE TABLE t (id BIGINT PRIMARY KEY)").unwrap();
    insert(&proxy, "", 1);
    // Through the proxy one meets the primary; the replica refuses.
    assert!(sql::execute(&replica.url(""), "INSERT INTO t VALUES (9)").is_err());
    let held = sql::hold(&proxy.url(""), "BEGIN").unwrap();
    primary.kill9();
    replica.promote();
    proxy.until_up(&[replica.port()]);
    insert(&proxy, "", 2);
    assert_eq!(ids(&proxy.url("")), [json!({"id": 1}), json!({"id": 2})]);
    drop(held);
}

#[test]
fn pgbouncer_hands_sessions_through() {
    if !engine::is(Engine::Postgres) {
        return;
    }
    let server = postgres::Server::start();
    let pooler = PgBouncer::of(&server);
    sql::execute(&pooler.url(""), "CREATE TABLE t (id BIGINT PRIMARY KEY)").unwrap();
    sql::execute(&pooler.url(""), "INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(ids(&server.url("")), [json!({"id": 1})], "{}", pooler.log());
    let asked = "SELECT client_port FROM pg_stat_activity WHERE backend_type = 'client backend'";
    assert!(!sql::rows(&pooler.url(""), asked).unwrap().is_empty());
}

#[test]
#[ignore = "slow: three nodes are formed, and one comes back"]
fn galera_goes_on_without_the_node_in_use_behind_haproxy() {
    if !engine::is(Engine::MySql) {
        return;
    }
    let mut cluster = Galera::start();
    let ports = cluster.ports();
    cluster.nodes[0].sql("", "CREATE DATABASE d CHARACTER SET utf8mb4");
    let proxy = HaProxy::of_galera(&ports);
    proxy.until_up(&ports);
    sql::execute(&proxy.url("d"), "CREATE TABLE t (id BIGINT PRIMARY KEY)").unwrap();
    insert(&proxy, "d", 1);
    cluster.nodes[0].kill9();
    insert(&proxy, "d", 2);
    proxy.until_up(&ports[1..]);
    eventually_sync(FAILOVER, || match cluster.size(1) {
        2 => Ok(()),
        n => Err(format!("{n} nodes")),
    });
    cluster.nodes[0].restart();
    proxy.until_up(&ports);
    assert_eq!(cluster.size(0), 3);
    for node in &cluster.nodes {
        let read = || ids(&node.url("d"));
        let wanted = [json!({"id": 1}), json!({"id": 2})];
        eventually_sync(FAILOVER, || if read() == wanted { Ok(()) } else { Err("it lags") });
    }
    // Without a majority the last one refuses.
    cluster.nodes[1].kill9();
    cluster.nodes[2].kill9();
    eventually_sync(FAILOVER, || {
        match sql::execute(&cluster.nodes[0].url("d"), "INSERT INTO t VALUES (3)") {
            Err(_) => Ok(()),
            Ok(_) => sql::execute(&cluster.nodes[0].url("d"), "DELETE FROM t WHERE id = 3")
                .map_or(Ok(()), |_| Err("it still writes")),
        }
    });
}
