//! The network between the service and its database: cut without a word, in the worst moment too.

use std::time::Duration;

use serde_json::{Value, json};

use super::SOON;
use super::own::Own;
use super::proxy::{Commit, Proxy};
use super::scene::{Scene, config};
use crate::migrations::{events, row, wait};
use crate::support::database::Database;
use crate::support::job::Lock;
use crate::support::program::Program;
use crate::support::{Answer, WardenConfig, db, eventually};

async fn scene() -> Option<(Own, Proxy, Scene)> {
    scene_of(|config| config).await
}

async fn scene_of(
    change: impl FnOnce(WardenConfig) -> WardenConfig,
) -> Option<(Own, Proxy, Scene)> {
    let server = Own::start()?;
    let proxy = Proxy::to(server.port());
    let scene = Scene::begin(change(config(&server.url_through(proxy.port())))).await;
    Some((server, proxy, scene))
}

/// The server keeps the rows of a transaction whose end never comes for a little while, not for ever.
#[tokio::test]
async fn cut_in_the_middle_of_a_transaction() {
    let Some((server, proxy, mut scene)) = scene().await else { return };
    proxy.lose(Commit::Lost);
    scene.falls.off().await;
    cut(&proxy).await;
    scene.away().await;
    assert!(db::events(&Database::at(server.url())).is_empty());
    proxy.mend();
    scene.recorded([("falls", "down"), ("blinks", "up"), ("stays", "up")]).await;
    scene.fell();
    scene.goes_on().await;
}

/// The record stands and the service does not know: it asks, and writes no second event.
#[tokio::test]
async fn a_lost_answer_to_a_commit_doubles_nothing() {
    let Some((server, proxy, mut scene)) = scene().await else { return };
    proxy.lose(Commit::AnswerLost);
    scene.falls.off().await;
    cut(&proxy).await;
    committed(&server, "down").await;
    scene.away().await;
    proxy.mend();
    scene.back().await;
    crate::migrations::ticks_pass(&scene.warden).await;
    scene.fell();
    scene.goes_on().await;
}

/// What turned back before the service knew of its own record is a second flip.
#[tokio::test]
async fn a_lost_answer_to_a_commit_leaves_no_row_behind_the_truth() {
    let Some((server, proxy, mut scene)) = scene().await else { return };
    proxy.lose(Commit::AnswerLost);
    scene.falls.off().await;
    cut(&proxy).await;
    committed(&server, "down").await;
    scene.falls.on().await;
    scene.health(200, 3).await;
    scene.away().await;
    proxy.mend();
    scene.recorded([("falls", "up"), ("blinks", "up"), ("stays", "up")]).await;
    assert_eq!(scene.flips(), ["falls:down", "falls:up"]);
}

/// A runner's report that was taken although its runner was told that it was not.
#[tokio::test]
async fn a_lost_answer_to_a_report_is_found_out() {
    let Some((server, proxy, scene)) = scene().await else { return };
    let report = json!({"status": "success"});
    let mut tries = 0;
    loop {
        tries += 1;
        assert!(tries <= 5, "the report was never the one whose answer was lost");
        proxy.lose(Commit::AnswerLost);
        let answer = scene.warden.patch("/migrations/2", &report).await;
        assert_eq!(answer.status, 503, "{:#}", answer.json);
        cut(&proxy).await;
        let took = taken(&server).await;
        proxy.mend();
        if took {
            break;
        }
        // It was the answer to what another loop wrote at that moment, and the report did not get through.
        scene.back().await;
    }
    wait(&scene.warden, 2, "success finished reported run1").await;
    let again = scene.warden.patch("/migrations/2", &report).await;
    assert_eq!(again.status, 200, "{:#}", again.json);
    assert_eq!(
        (&row(&scene.warden, 2)["status"], events(&scene.warden, 2)),
        (&json!("success"), vec!["1:success".to_owned()])
    );
}

/// More first sights than fit into the time of one transaction over a network that is far.
#[tokio::test]
async fn many_locks_over_a_slow_network() {
    // Longer than elsewhere here: a busy machine takes a second for a statement at times.
    let patient = |config: WardenConfig| config.set("database.statement_timeout", "4s");
    let Some((_server, proxy, scene)) = scene_of(patient).await else { return };
    proxy.slow(Duration::from_millis(16));
    let job = Program::sleeper(scene.warden.dir());
    for id in 1000..1250 {
        Lock::new(id, job.pid()).write(&scene.warden.lock_dir());
    }
    let all = |answer: &Answer| (answer.json["count"] == 252).then_some(());
    scene.warden.until("/migrations", SOON, all).await;
    let log = scene.warden.log();
    assert!(!log.contains("the database fails"), "{log}");
}

async fn cut(proxy: &Proxy) {
    eventually(SOON, || async { if proxy.is_cut() { Ok(()) } else { Err("no COMMIT came") } })
        .await;
}

/// Has the server the report? A commit may take it a while.
async fn taken(server: &Own) -> bool {
    let database = Database::at(server.url());
    let has = |row: &Value| row["brz_project_id"] == 2 && row["status"] == "success";
    let comes = async {
        while !db::migrations(&database).iter().any(has) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), comes).await.is_ok()
}

/// The server has it, whoever knows.
async fn committed(server: &Own, state: &str) {
    let database = Database::at(server.url());
    eventually(SOON, || async {
        let rows = db::nodes(&database);
        let stands = rows.iter().any(|row| row["name"] == "falls" && row["state"] == state);
        if stands { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}
