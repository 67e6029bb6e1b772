//! Clocks that step, and ourselves stopped: nothing is called dead for it, and what nobody watched is not known.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::nodes::{SOON, becomes, node_with};
use crate::support::job::{Lock, unix_now};
use crate::support::program::Program;
use crate::support::{Answer, Wallet, Warden, WardenConfig, canary, db};

const DAY: i64 = 86_400;

fn last_check(answer: &Answer) -> Option<i64> {
    let text = answer.json["nodes"][0]["last_check"].as_str()?;
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp())
}

/// Debian's; the multi-threaded one, since the service has threads.
fn libfaketime() -> String {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut paths = libraries.map(|it| it.path().join("faketime/libfaketimeMT.so.1"));
    let path = paths.find(|path| path.exists()).expect("libfaketime is installed");
    path.display().to_string()
}

fn turns(answer: &Answer) -> usize {
    answer.json["history"].as_array().expect("a list").len()
}

fn watches(warden: &Warden) -> usize {
    db::query(warden.database(), "SELECT since, until FROM procwarden_watches").len()
}

#[tokio::test]
async fn a_wall_clock_that_steps_by_days_both_ways_turns_nothing() {
    let wallet = Wallet::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "+0").unwrap();
    let config = WardenConfig::default().set("migrations.stall_after", "30m").node(node_with(
        "n",
        wallet.port(),
        json!({"pid": wallet.pid()}),
    ));
    let mut warden = Warden::prepare(config);
    let path = format!("FAKETIME_TIMESTAMP_FILE={}", file.path().display());
    let preload = format!("LD_PRELOAD={}", libfaketime());
    // Of the clocks only the one on the wall is another, and the times of files are what they are.
    let wrapper = [
        "env",
        &preload,
        &path,
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "NO_FAKE_STAT=1",
    ];
    warden.launch_under(&wrapper);
    warden.ready().await;
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    becomes(&warden, "n", "up", None).await;
    let alive = |answer: &Answer| {
        let row = &answer.json["data"][0];
        (row["status"] == "in_progress" && row["state"] == "alive").then_some(())
    };
    warden.until("/migrations", SOON, alive).await;

    for days in [0, 3, -3, 30, 0] {
        std::fs::write(file.path(), format!("{:+}", days * DAY)).unwrap();
        let real = unix_now();
        let close = |at: i64| (at - real - days * DAY).abs() < DAY / 2;
        // Until it has looked by that clock; whatever is answered in between says the same.
        warden
            .until("/nodes/status", SOON, |answer| {
                let node = &answer.json["nodes"][0];
                assert_eq!(
                    (&node["state"], &node["status"]),
                    (&json!("up"), &json!(true)),
                    "{days}"
                );
                last_check(answer).filter(|at| close(*at))
            })
            .await;
        for path in ["/health", "/readyz", "/livez"] {
            let answer = warden.get(path).await;
            assert_eq!(answer.status, 200, "{days} {path}: {:#}", answer.json);
        }
        let rows = warden.get("/migrations").await;
        assert!(alive(&rows).is_some(), "{days}: {:#}", rows.json);
        assert_eq!(turns(&warden.get("/nodes/n/history").await), 0, "{days}");
    }
    assert!(job.signal(Signal::CONT), "the job lives still");
}

#[tokio::test]
async fn stopped_for_longer_than_its_window_it_calls_nothing_dead_and_knows_nothing_of_that_time() {
    // With a login: two requests, and it may be stopped between them.
    let password = canary::secret("frozen");
    let wallet = Wallet::start_login(&format!("user:{password}")).await;
    let node = json!({"pid": wallet.pid(), "username": "user", "password": password});
    // W = 3 x 300 ms + 100 ms + 400 ms.
    let config = WardenConfig::default()
        .set("nodes.connect_timeout", "100ms")
        .set("nodes.api_timeout", "400ms")
        .node(node_with("n", wallet.port(), node));
    let warden = Warden::start(config).await;
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    becomes(&warden, "n", "up", None).await;
    let known = |answer: &Answer| answer.json["uptime"]["24h"]["ratio"].is_number().then_some(());
    warden.until("/nodes/n/history", SOON, known).await;

    let first = watches(&warden);
    for more in 1..=3 {
        let pid = warden.pid();
        warden.signal(Signal::STOP);
        // As long as it is stopped, which is the fault itself.
        tokio::time::sleep(Duration::from_secs(5)).await;
        warden.signal(Signal::CONT);
        assert_eq!(warden.pid(), pid);
        warden
            .until("/nodes/status", SOON, |answer| {
                let node = &answer.json["nodes"][0];
                // Stale at first, never down.
                assert_ne!(node["state"], "down", "{node:#}; {}", warden.log());
                (node["state"] == "up").then_some(())
            })
            .await;
        let one_more = |_: &Answer| (watches(&warden) == first + more).then_some(());
        warden.until("/livez", SOON, one_more).await;
    }
    let history = warden.get("/nodes/n/history").await;
    assert_eq!(turns(&history), 0, "{:#}", history.json);
    let rows = warden.get("/migrations").await;
    assert_eq!(rows.json["data"][0]["status"], "in_progress", "{:#}", rows.json);
    assert!(job.signal(Signal::CONT), "the job lives still");
}
