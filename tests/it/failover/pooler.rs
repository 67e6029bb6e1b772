//! PostgreSQL behind PgBouncer in session mode.

use serde_json::json;

use super::own::DATABASE;
use super::scene::{Scene, config};
use crate::support::engine::{self, Engine};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres;

#[tokio::test]
#[ignore = "slow: a pooler as well"]
async fn a_pooler_in_session_mode_and_the_server_behind_it_killed() {
    if !engine::is(Engine::Postgres) {
        return;
    }
    let mut server = postgres::Server::start();
    server.sql("", &format!("CREATE DATABASE {DATABASE}"));
    let pooler = PgBouncer::of(&server);
    let mut scene = Scene::begin(config(&pooler.url(DATABASE))).await;
    scene.flip(2).await;
    let added =
        scene.warden.post("/nodes", &json!({"name": "added", "port": 1, "available": false})).await;
    assert_eq!(added.status, 201, "{:#}", added.json);
    let listed = scene.warden.cli(&["nodes", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("added"), "{listed:?}");
    let reported =
        scene.warden.patch("/migrations/2", &json!({"error": "x", "status": "nonsense"})).await;
    assert_eq!(reported.status, 400, "{:#}", reported.json);
    server.kill9();
    scene.act().await;
    server.restart();
    scene.end().await;
    scene.goes_on().await;
    // Started while the pooler is there and the server is not.
    server.kill9();
    scene.warden.kill9();
    scene.warden.reconfigure(|config| config.set("database.wait", "60s"));
    scene.warden.launch();
    super::stopped::said(&scene.warden, "the database does not answer yet").await;
    server.restart();
    scene.warden.ready().await;
    scene.flip(1).await;
}
