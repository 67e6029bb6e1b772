//! The server is stopped or killed, and started again; the service is started first, or killed meanwhile.

use std::time::Duration;

use super::SOON;
use super::own::Own;
use super::scene::{Scene, config};
use crate::support::{Warden, eventually};

/// What the killed service knew alone is seen again by the next one; what was committed stands.
#[tokio::test]
async fn the_service_is_killed_as_well_and_waits_for_the_server() {
    let Some(mut server) = Own::start() else { return };
    let mut scene = Scene::begin(config(&server.url())).await;
    server.kill9();
    scene.act().await;
    scene.warden.kill9();
    assert!(scene.lock(1).exists());
    scene.warden.reconfigure(|config| config.set("database.wait", "60s"));
    scene.warden.launch();
    said(&scene.warden, "the database does not answer yet").await;
    assert!(scene.warden.is_running(), "{}", scene.warden.log());
    server.restart();
    scene.warden.ready().await;
    scene.end().await;
    scene.goes_on().await;
}

#[tokio::test]
async fn started_before_the_server() {
    let Some(mut server) = Own::start() else { return };
    server.stop();
    let mut warden = Warden::prepare(config(&server.url()).set("database.wait", "60s"));
    warden.launch();
    said(&warden, "the database does not answer yet").await;
    assert!(warden.is_running() && warden.try_get("/livez").await.is_err(), "nothing is bound");
    server.restart();
    warden.ready().await;
    assert_eq!(warden.get("/readyz?require=database").await.status, 200);
}

/// Without patience it is one clear line.
#[tokio::test]
async fn no_server_and_no_patience() {
    let Some(mut server) = Own::start() else { return };
    server.stop();
    let mut warden = Warden::prepare(config(&server.url()));
    warden.launch();
    assert_eq!(warden.wait_exit().await.code(), Some(69), "{}", warden.log());
    let log = warden.log();
    assert!(log.contains("refused") && !log.contains("hunter2"), "{log}");
}

/// Waits until the log has it.
pub async fn said(warden: &Warden, text: &str) {
    eventually(SOON.max(Duration::from_secs(10)), || async {
        let log = warden.log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    })
    .await;
}
