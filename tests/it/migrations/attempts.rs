//! The launcher's lock and the runner's; a second attempt on a finished row.

use super::{KILLED, events, gone, long_grace, row, shown, ticks_pass, wait};
use crate::support::Warden;
use crate::support::job::{self, Lock};
use crate::support::program::Program;

#[tokio::test]
async fn the_runner_takes_over_the_launchers_lock_in_the_same_run() {
    let warden = Warden::start(long_grace()).await;
    let dir = warden.lock_dir();
    let mut launcher = Program::sleeper(warden.dir());
    // The launcher writes ids and PID as strings.
    let first = Lock::new(1, 0).set("pid", launcher.pid().to_string()).set("brz_project_id", "1");
    first.write(&dir);
    wait(&warden, 1, "in_progress alive - run1").await;
    assert_eq!(row(&warden, 1)["lock_pid"], launcher.pid());
    let runner = Program::sleeper(warden.dir());
    Lock::new(1, runner.pid()).write(&dir);
    launcher.kill();
    warden
        .until("/migrations?brz_project_id=1", super::SOON, |answer| {
            (answer.json["data"][0]["pid"] == runner.pid()).then_some(())
        })
        .await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
    assert_eq!(row(&warden, 1)["lock_pid"], runner.pid());
    assert!(events(&warden, 1).is_empty());
}

/// A finished row: its process died long ago, its lock is removed.
async fn failed(warden: &Warden, id: i64) {
    let path = Lock::new(id, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    wait(warden, id, "error finished process_gone run1").await;
    gone(&path).await;
}

#[tokio::test]
async fn a_second_attempt_that_lives_is_another_run() {
    let warden = Warden::start(long_grace()).await;
    failed(&warden, 1).await;
    let mut again = Program::sleeper(warden.dir());
    let path = Lock::new(1, again.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run2").await;
    assert_eq!(events(&warden, 1), ["1:error", "2:in_progress"]);
    again.kill();
    Lock::new(1, again.pid()).ago(8000).write(&warden.lock_dir());
    // Another start in the lock, before the end of run 2's process was proven: the same run.
    wait(&warden, 1, &format!("error finished {KILLED} run2")).await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error", "2:in_progress", "2:error"]);
}

#[tokio::test]
async fn a_second_attempt_that_is_dead_already_is_judged_as_another_run() {
    let warden = Warden::start(long_grace().set("migrations.grace", "3s")).await;
    failed(&warden, 1).await;
    // `started_timestamp` has whole seconds: it must lie after the end of the first run.
    let ended = row(&warden, 1)["ended_at"].as_i64().unwrap();
    crate::support::eventually(super::SOON, || async move {
        if job::unix_now() * 1000 > ended { Ok(()) } else { Err("the second goes on") }
    })
    .await;
    let path = Lock::new(1, job::dead_pid(warden.dir())).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress waiting process_gone run2").await;
    wait(&warden, 1, "error finished process_gone run2").await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error", "2:in_progress", "2:error"]);
}

#[tokio::test]
async fn an_older_dead_lock_under_a_finished_row_reopens_nothing_and_goes() {
    let warden = Warden::start(long_grace()).await;
    failed(&warden, 1).await;
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(20_000).write(&warden.lock_dir());
    gone(&path).await;
    assert_eq!(shown(&warden, 1).await, "error finished process_gone run1");
    assert_eq!(events(&warden, 1), ["1:error"]);
}
