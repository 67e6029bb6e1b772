//! A lock that disappears by itself.

use std::fs;

use super::{events, long_grace, source, wait};
use crate::support::Warden;
use crate::support::job::Lock;
use crate::support::program::Program;

#[tokio::test]
async fn a_runner_that_removes_its_lock_is_done() {
    let warden = Warden::start(long_grace()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    fs::remove_file(path).unwrap();
    wait(&warden, 1, "completed finished - run1").await;
    assert_eq!(source(&warden, 1), "lock_released");
    assert_eq!(events(&warden, 1), ["1:completed"]);
}

#[tokio::test]
async fn while_nobody_watched() {
    let mut warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    warden.kill9();
    fs::remove_file(path).unwrap();
    job.kill();
    warden.restart().await;
    wait(&warden, 1, "completed finished - run1").await;
    assert_eq!(source(&warden, 1), "lock_released_unwatched");
}

#[tokio::test]
async fn a_death_proven_before_the_lock_went_is_an_error() {
    let mut warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    job.kill();
    crate::support::eventually(super::SOON, || async {
        let row = super::row(&warden, 1);
        if row["ended_at"].is_i64() { Ok(()) } else { Err(row) }
    })
    .await;
    // What the row has outlives a restart: that it ended, and how, where the kernel told.
    warden.kill9();
    fs::remove_file(path).unwrap();
    warden.restart().await;
    wait(&warden, 1, "error finished killed|lock_removed run1").await;
    assert_eq!(source(&warden, 1), "monitor");
    assert_eq!(events(&warden, 1), ["1:error"]);
}

/// The kernel tells from 6.15 on how a process ended that is no child of ours.
fn kernel_tells() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[tokio::test]
async fn an_exit_that_was_witnessed_decides() {
    let warden = Warden::start(long_grace()).await;
    let dir = warden.lock_dir();
    let out = warden.dir().join("job.log");
    let shell = |script: &str| Program::start("sh", ["-c", script], warden.dir(), &out, &[]);
    // They end when they are told to, so that they are seen alive first.
    let (mut well, mut badly) =
        (shell("sleep 600 & wait $!; exit 0"), shell("sleep 600 & wait $!; exit 7"));
    let mut killed = Program::sleeper(warden.dir());
    let jobs = [(1, well.pid()), (2, badly.pid()), (3, killed.pid())];
    for (id, pid) in jobs {
        Lock::new(id, pid).write(&dir);
        wait(&warden, id, "in_progress alive - run1").await;
    }
    for (_, shell) in &jobs[..2] {
        end_child(*shell).await;
    }
    assert_eq!(well.reap().code(), Some(0));
    assert_eq!(badly.reap().code(), Some(7));
    killed.kill();
    for (id, _) in jobs {
        fs::remove_file(dir.join(crate::support::job::file_name(id))).unwrap();
    }
    let expected = if kernel_tells() {
        [
            "completed finished exited run1",
            "error finished exited run1",
            "error finished killed run1",
        ]
    } else {
        ["completed finished - run1"; 3]
    };
    for ((id, _), expected) in jobs.iter().zip(expected) {
        wait(&warden, *id, expected).await;
    }
}

/// Ends the process that a shell waits for.
async fn end_child(shell: i32) {
    let child: i32 = crate::support::eventually(super::SOON, || async {
        let path = format!("/proc/{shell}/task/{shell}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().next().and_then(|pid| pid.parse().ok()).ok_or("no child yet")
    })
    .await;
    let pid = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[tokio::test]
async fn what_is_explained_is_what_was_witnessed() {
    if !kernel_tells() {
        return;
    }
    let warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    job.kill();
    wait(&warden, 1, "in_progress waiting killed run1").await;
    let answer = warden.get("/migrations/1/process").await;
    assert_eq!(answer.json["data"]["explain"][0]["value"], "killed by SIGKILL", "{}", answer.json);
}
