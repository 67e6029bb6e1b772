//! Jobs whose PIDs are not this table's.

use super::{events, gone, long_grace, shown, ticks_pass, wait};
use crate::support::Warden;
use crate::support::job::{self, Elsewhere, Lock};

#[tokio::test]
async fn a_job_in_another_pid_namespace_is_unknown_until_it_is_nowhere() {
    let warden = Warden::start(long_grace()).await;
    let job = Elsewhere::start(warden.dir()).await;
    let path = Lock::new(1, job.inner_pid()).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress unknown pid_namespace run1").await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress unknown pid_namespace run1");
    assert!(path.exists());
    assert!(events(&warden, 1).is_empty());
    job.kill();
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
}

#[tokio::test]
async fn in_a_shared_directory_a_job_never_seen_here_is_foreign() {
    let warden = Warden::start(long_grace().set("migrations.scope", "shared")).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress foreign - run1").await;
    // One that was seen alive here is judged all the same, and shows that looks go on.
    let mut seen = crate::support::program::Program::sleeper(warden.dir());
    let seen_path = Lock::new(2, seen.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 2, "in_progress alive - run1").await;
    seen.kill();
    gone(&seen_path).await;
    assert_eq!(shown(&warden, 1).await, "in_progress foreign - run1");
    assert!(path.exists());
    assert_eq!(events(&warden, 2), ["1:error"]);
}
