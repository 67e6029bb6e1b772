//! The database is held by somebody else at the wrong moment.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::migrations::{SOON, events, gone, long_grace, ticks_pass, wait};
use crate::support::job::{self, Lock};
use crate::support::{Answer, Warden, WardenConfig, db, engine, eventually};

/// A server that does not answer is a failure only after the statement's limit; a file that is held, after three seconds.
fn short_limit() -> WardenConfig {
    long_grace().set("database.statement_timeout", "2s").set("database.connect_timeout", "2s")
}

#[tokio::test]
async fn gone_between_the_status_and_the_removal() {
    let mut warden = Warden::prepare(short_limit().env("FAILPOINTS", "after-flip=1*sleep(4000)"));
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    warden.launch();
    // The fail point keeps a thread of the service, so nothing is asked of it meanwhile.
    eventually(SOON, || async {
        let ends = db::try_query(
            warden.database(),
            "SELECT id FROM procwarden_migrations WHERE status = 'error'",
        )
        .map_err(|error| error.to_string())?;
        if ends.is_empty() { Err("not judged yet".to_owned()) } else { Ok(()) }
    })
    .await;
    let held = db::hold(warden.database());
    assert!(path.exists(), "the removal comes after the commit");
    warden.ready().await;
    // What was committed is committed: the removal needs no database, and readers are answered from memory.
    gone(&path).await;
    wait(&warden, 1, "error finished process_gone run1").await;
    assert_eq!(warden.get("/readyz").await.status, 200);
    drop(held);
    ticks_pass(&warden).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
    assert!(job::asides(&warden.lock_dir()).is_empty());
}

#[tokio::test]
async fn gone_before_the_status_nothing_is_removed() {
    let warden = Warden::start(short_limit()).await;
    let mut job = crate::support::program::Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let held = db::hold(warden.database());
    job.kill();
    // A first failure makes it known.
    let lost = |answer: &crate::support::Answer| (answer.status == 503).then_some(());
    warden.until("/readyz?require=database", SOON, lost).await;
    assert!(path.exists(), "nothing is removed without the database's word");
    assert_eq!(warden.get("/readyz").await.status, 200);
    drop(held);
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}

/// The file is removed under a running server: no lock goes for a status that nobody will find again.
#[tokio::test]
async fn a_removed_database_costs_no_lock() {
    if !engine::only_sqlite("a server's files are the server's concern") {
        return;
    }
    let mut warden = Warden::start(long_grace()).await;
    ticks_pass(&warden).await;
    std::fs::remove_file(warden.db_file()).unwrap();
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    warden
        .until("/readyz?require=database", SOON, |answer| (answer.status == 503).then_some(()))
        .await;
    eventually(SOON, || async {
        let told = warden.log().contains("was removed or replaced while it was in use");
        if told { Ok(()) } else { Err(warden.log()) }
    })
    .await;
    assert!(path.exists(), "{}", warden.log());
    warden.restart().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}

/// Longer than a verdict of this interval stays fresh (4.6 s): the checks do not wait for the database.
#[tokio::test]
async fn nodes_stay_fresh_while_the_database_is_held() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let exe = std::env::current_exe().unwrap();
    let ours = exe.file_name().unwrap().to_str().unwrap();
    let node = json!({ "name": "n", "port": port, "process_name": ours });
    let config =
        short_limit().set("nodes.interval", "200ms").set("nodes.method", "port").node(node);
    let warden = Warden::start(config).await;
    let healthy = |answer: &Answer| (answer.status == 200).then_some(());
    warden.until("/health", SOON, healthy).await;
    let held = db::hold(warden.database());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let answer = warden.get("/health").await;
        assert_eq!(answer.status, 200, "{:#}; {}", answer.json, warden.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = warden.get("/readyz?require=database").await;
    assert_eq!(answer.status, 503, "it was held");
    drop(held);
    warden.until("/readyz?require=database", SOON, healthy).await;
    accepting.abort();
}
