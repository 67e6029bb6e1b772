//! An operator removes a lock: `DELETE /migrations/{id}/lock`.

use std::time::Duration;

use super::{events, long_grace, shown, source, ticks_pass, wait};
use crate::support::Warden;
use crate::support::job::{self, Lock, report};
use crate::support::program::Program;

#[tokio::test]
async fn a_living_process_keeps_its_lock_unless_forced_and_then_its_end_is_awaited() {
    let mut warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let refused = warden.delete("/migrations/1/lock").await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &"process_alive".into()));
    assert!(path.exists());

    let removed = warden.delete("/migrations/1/lock?force=true").await;
    assert_eq!(removed.status, 200, "{:#}", removed.json);
    assert_eq!(removed.json["data"]["removed"], true);
    assert!(!path.exists());
    wait(&warden, 1, "in_progress alive lock_removed run1").await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive lock_removed run1");

    warden.restart().await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive lock_removed run1");
    job.kill();
    wait(&warden, 1, "error finished lock_removed run1").await;
    assert_eq!(source(&warden, 1), "operator");
    assert_eq!(events(&warden, 1), ["1:error"]);
    let told = warden.patch("/migrations/1", &report("success")).await;
    assert_eq!(told.status, 200, "the runner may correct it");
}

#[tokio::test]
async fn a_dead_ones_lock_goes_without_force() {
    let warden = Warden::start(long_grace()).await;
    let path = Lock::new(1, job::dead_pid(warden.dir())).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress waiting process_gone run1").await;
    assert_eq!(warden.delete("/migrations/1/lock").await.status, 200);
    assert!(!path.exists());
    wait(&warden, 1, "error finished lock_removed run1").await;
    assert_eq!(warden.delete("/migrations/1/lock").await.status, 404);
}

#[tokio::test]
async fn a_lock_that_names_no_process_is_the_operators_to_remove() {
    let warden = Warden::start(long_grace()).await;
    let lock = Lock::new(1, 0).set("pid", serde_json::Value::Null);
    let path = lock.write(&warden.lock_dir());
    job::backdate(&path, Duration::from_secs(400));
    wait(&warden, 1, "in_progress unknown no_pid run1").await;
    assert_eq!(warden.delete("/migrations/1/lock").await.status, 200);
    assert!(!path.exists());
    wait(&warden, 1, "error finished lock_removed run1").await;
}

#[tokio::test]
async fn an_unknown_migration_and_a_missing_token() {
    let warden = Warden::start(long_grace()).await;
    assert_eq!(warden.delete("/migrations/77/lock").await.status, 404);
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let request = warden.request(reqwest::Method::DELETE, "/migrations/1/lock?force=true");
    assert_eq!(warden.send(request).await.status, 401);
    assert!(path.exists());
}
