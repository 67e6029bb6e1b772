//! Another process under the PID of a lock.

use super::{events, gone, long_grace, shown, ticks_pass, wait};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, kernel};

#[tokio::test]
async fn a_stranger_under_the_pid_of_a_job_that_was_seen_is_not_the_job() {
    let warden = Warden::start(long_grace()).await;
    let mut job = Program::passing(warden.dir());
    let pid = job.pid();
    let path = Lock::new(1, pid).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    warden.signal(rustix::process::Signal::STOP);
    job.kill();
    let stranger = job::spawn_as(pid, warden.dir());
    warden.signal(rustix::process::Signal::CONT);
    warden
        .until("/migrations?brz_project_id=1", super::SOON, |answer| {
            (answer.json["data"][0]["status"] == "error").then_some(())
        })
        .await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
    assert_ne!(kernel::state(stranger.pid()), None, "the stranger lives on");
}

#[tokio::test]
async fn at_first_sight_a_process_much_younger_than_its_lock_is_a_stranger() {
    let warden = Warden::start(long_grace()).await;
    let stranger = Program::sleeper(warden.dir());
    let path = Lock::new(1, stranger.pid()).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished pid_reused run1").await;
    gone(&path).await;
    assert_ne!(kernel::state(stranger.pid()), None, "the stranger lives on");
}

#[tokio::test]
async fn at_first_sight_a_lock_written_after_the_start_is_the_processs_own() {
    let warden = Warden::start(long_grace()).await;
    let job = Program::sleeper(warden.dir());
    // Only one of both times lies before the start: that proves nothing.
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
    assert!(path.exists());
}
