//! The network between the service and its database: cut without a word, and an answer that is lost.

use super::own::Own;
use super::proxy::Proxy;
use super::scene::{Scene, config};
use super::SOON;
use crate::support::db;
use crate::support::database::Database;

#[tokio::test]
async fn cut_and_mended() {
    let Some(server) = Own::start() else { return };
    let proxy = Proxy::to(server.port()).await;
    let mut scene = Scene::begin(config(&server.url_through(proxy.port()))).await;
    proxy.cut();
    scene.act().await;
    // The server is there all the while, and has heard of nothing.
    let database = Database::at(server.url());
    assert!(db::nodes(&database).iter().all(|row| row["state"] == "up"));
    assert!(db::migrations(&database).iter().all(|row| row["status"] == "in_progress"));
    assert!(db::events(&database).is_empty());
    proxy.mend();
    scene.end().await;
    scene.goes_on().await;
}
