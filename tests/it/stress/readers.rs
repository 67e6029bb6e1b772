//! Readers that ask too much, and readers that never read.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{lateness_is_told, resident};
use crate::migrations::{gone, long_grace, wait};
use crate::support::job::{self, Lock};
use crate::support::light::{Does, Lights};
use crate::support::{Warden, WardenConfig};

/// What those who never read may cost, MiB: what is sent to them and not taken is bounded for each.
const MUTE_READERS_TAKE: u64 = 64;

#[tokio::test]
#[ignore = "slow: ten seconds on all cores"]
async fn thousands_of_requests_a_second_on_health() {
    let lights = Lights::start();
    let node = lights.node(Does::Answers);
    let config = long_grace().node(json!({"name": "n", "port": node.port()}));
    let warden = Warden::start(config).await;
    let up = |answer: &crate::support::Answer| (answer.status == 200).then_some(());
    warden.until("/health", Duration::from_secs(30), up).await;
    let url = warden.url("/health");
    let load = tokio::task::spawn_blocking(move || {
        Command::new("wrk").args(["-t2", "-c64", "-d10s", &url]).output().unwrap()
    });
    // A death under it is found, judged and told.
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    let text = String::from_utf8(load.await.unwrap().stdout).unwrap();
    println!("{text}");
    assert!(text.contains("requests in"), "{text}");
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
    lateness_is_told(&warden, "nodes").await;
    lateness_is_told(&warden, "migrations").await;
}

#[tokio::test]
#[ignore = "slow: two thousand nodes"]
async fn readers_that_never_read_cost_little_and_hold_nobody_up() {
    let lights = Lights::start();
    let node = lights.node(Does::Answers);
    let config = WardenConfig::default().set("nodes.interval", "10s").set("log.level", "info");
    let config = (0..2000).fold(config, |config, at| {
        config.node(json!({"name": format!("n{at}"), "port": node.port()}))
    });
    let warden = Warden::start(config).await;
    let all = |answer: &crate::support::Answer| (answer.json["working"] == 2000).then_some(());
    warden.until("/health", Duration::from_mins(2), all).await;
    let before = resident(&warden);
    let mut mute = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(("127.0.0.1", warden.port())).unwrap();
        let path = if number % 2 == 0 { "/nodes/status" } else { "/events" };
        // As many at once as fit into what is read of them.
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(20);
        stream.set_nonblocking(true).unwrap();
        let _ = stream.write_all(request.as_bytes());
        mute.push(stream);
    }
    // All nodes turn twice: there is something to tell to all who listen.
    for (does, working) in [(Does::Closed, 0), (Does::Answers, 2000)] {
        node.set(does);
        let turned =
            |answer: &crate::support::Answer| (answer.json["working"] == working).then_some(());
        warden.until("/health", Duration::from_mins(2), turned).await;
    }
    let takes = resident(&warden).saturating_sub(before);
    assert!(takes <= MUTE_READERS_TAKE, "{takes} MiB more than {before}");
    lateness_is_told(&warden, "nodes").await;
    // They were served, as far as they let us.
    let mut first = [0; 12];
    let mut stream = mute.swap_remove(0);
    stream.set_nonblocking(false).unwrap();
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}
