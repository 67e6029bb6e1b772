//! The server stands still: connections stand and are accepted, nothing is answered.

use serde_json::json;

use super::own::Own;
use super::scene::{Scene, config};
use crate::support::Answer;

#[tokio::test]
async fn frozen_and_thawed_with_every_place_of_the_pool_in_use() {
    let Some(server) = Own::start() else { return };
    let config = config(&server.url()).set("database.max_connections", 3);
    let mut scene = Scene::begin(config).await;
    server.freeze();
    scene.act().await;
    // More requests than there are places; each is answered, none is carried out.
    for number in 0..6 {
        let new = json!({"name": format!("n{number}"), "port": 1});
        let answer = scene.warden.post("/nodes", &new).await;
        assert_eq!(answer.status, 503, "{:#}", answer.json);
    }
    let refused = scene.warden.patch("/migrations/2", &json!({"status": "success"})).await;
    assert_eq!(refused.status, 503, "{:#}", refused.json);
    server.thaw();
    scene.end().await;
    // As many at once as there are places, and more.
    let added = (0..6).map(|number| {
        let (warden, new) = (&scene.warden, json!({"name": format!("m{number}"), "port": 1}));
        async move { warden.post("/nodes", &new).await }
    });
    for answer in futures_util::future::join_all(added).await {
        assert_eq!(answer.status, 201, "{:#}", answer.json);
    }
    let listed = |answer: &Answer| (answer.json["total"] == 9).then_some(());
    scene.warden.until("/nodes/status", super::SOON, listed).await;
    assert_eq!(scene.warden.get("/readyz?require=database").await.status, 200);
}

/// As long as a frozen server keeps a write waiting, with the times that are the defaults: nobody is taken for stopped.
#[tokio::test]
async fn the_loops_turn_while_a_write_waits_for_long() {
    let Some(server) = Own::start() else { return };
    let config = config(&server.url())
        .set("database.connect_timeout", "5s")
        .set("database.statement_timeout", "5s")
        .set("database.retry_after", "3s");
    let mut scene = Scene::begin(config).await;
    server.freeze();
    scene.act().await;
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(15) {
        let answer = scene.warden.get("/readyz?verbose").await;
        assert_eq!(answer.status, 200, "{:#}; {}", answer.json, scene.warden.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    server.thaw();
    scene.end().await;
}
