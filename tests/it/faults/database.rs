//! The database is held by somebody else at the wrong moment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::migrations::{SOON, events, gone, long_grace, ticks_pass, wait};
use crate::support::job::{self, Lock};
use crate::support::{Answer, Warden, db, eventually};

/// A connection that holds the database exclusively until it is dropped.
struct Held {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Held {
    fn take(file: &Path) -> Self {
        let mut child = Command::new("sqlite3")
            .args(["-cmd", ".timeout 20000"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"BEGIN EXCLUSIVE;\nSELECT 'held';\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "held");
        Self { child, stdin: Some(stdin) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input ends the program, and with it the transaction.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn gone_between_the_status_and_the_removal() {
    let mut warden = Warden::prepare(long_grace().env("FAILPOINTS", "after-flip=1*sleep(4000)"));
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    warden.launch();
    warden.ready().await;
    eventually(SOON, || async {
        let ends = db::query(
            &warden.db_path(),
            "SELECT id FROM procwarden_migrations WHERE status = 'error'",
        );
        if ends.is_empty() { Err("not judged yet") } else { Ok(()) }
    })
    .await;
    let held = Held::take(&warden.db_path());
    assert!(path.exists(), "the removal comes after the commit");
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
    let warden = Warden::start(long_grace()).await;
    let mut job = crate::support::program::Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let held = Held::take(&warden.db_path());
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
    let mut warden = Warden::start(long_grace()).await;
    ticks_pass(&warden).await;
    std::fs::remove_file(warden.db_path()).unwrap();
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
    let config = long_grace().set("nodes.interval", "200ms").set("nodes.method", "port").node(node);
    let warden = Warden::start(config).await;
    let healthy = |answer: &Answer| (answer.status == 200).then_some(());
    warden.until("/health", SOON, healthy).await;
    let held = Held::take(&warden.db_path());
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
