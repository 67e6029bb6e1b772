//! Galera, three nodes behind HAProxy, and two instances: the node in use is killed; then there is no majority.

use std::time::{Duration, Instant};

use super::SOON;
use super::own::DATABASE;
use super::scene::{Scene, config};
use super::writes::Writes;
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::galera::Galera;
use crate::support::haproxy::HaProxy;
use crate::support::{Answer, Warden};

#[tokio::test]
#[ignore = "slow: three nodes are formed, killed and come back"]
async fn a_cluster_loses_the_node_in_use_and_then_its_majority() {
    if !engine::is(Engine::MySql) {
        return;
    }
    let mut cluster = Galera::start();
    let ports = cluster.ports();
    cluster.nodes[0].sql("", &format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"));
    let proxy = HaProxy::of_galera(&ports);
    proxy.until_up(&ports);
    let mut scene = Scene::begin(config(&proxy.url(DATABASE))).await;
    // The other speaks to the last node itself, and so meets it when it has no majority.
    let last = Database::at(cluster.nodes[2].url(DATABASE));
    let second = Warden::start(config(last.url()).set("instance.name", "test-2")).await;
    scene.flip(3).await;

    let writes = Writes::default();
    let kill = async {
        writes.more(20).await;
        cluster.nodes[0].kill9();
        let began = Instant::now();
        writes.more(20).await;
        println!("{:?} until 20 more writes stand", began.elapsed());
        writes.end();
    };
    tokio::join!(writes.run(&scene.warden), kill);
    scene.back().await;
    writes.stand(&last);
    scene.flip(1).await;
    cluster.nodes[0].restart();
    proxy.until_up(&ports);
    assert_eq!(cluster.size(2), 3);
    scene.flip(1).await;

    cluster.nodes[0].kill9();
    cluster.nodes[1].kill9();
    for warden in [&scene.warden, &second] {
        let away = |answer: &Answer| (answer.status == 503).then_some(());
        warden.until("/readyz?require=database", SOON, away).await;
    }
    scene.act().await;
    assert_eq!(second.get("/readyz").await.status, 200);
    // Longer than a lease: nobody is taken for lost by whoever cannot know.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        assert_eq!(scene.warden.get("/readyz").await.status, 200, "{}", scene.warden.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.nodes[2].sql("", "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'");
    scene.end().await;
    for node in [0, 1] {
        cluster.nodes[node].restart();
    }
    assert_eq!(cluster.size(2), 3);
    scene.goes_on().await;
    writes.stand(&last);
    for warden in [&scene.warden, &second] {
        let log = warden.log();
        assert!(!log.contains("instance_lost") && !log.contains("panicked"), "{log}");
    }
    println!("what the second met: {}", second.log());
}
