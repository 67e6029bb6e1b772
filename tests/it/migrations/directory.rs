//! The lock directory itself: missing, renamed away and back, another one in its place.

use std::fs;

use super::{KILLED, SOON, events, long_grace, shown, ticks_pass, wait};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, eventually};

async fn until_logged(warden: &Warden, times: usize, words: &[&str]) {
    eventually(SOON, || async {
        let log = warden.log();
        let found = log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
        if found >= times { Ok(()) } else { Err(format!("{found} of {words:?} in\n{log}")) }
    })
    .await;
}

#[tokio::test]
async fn renamed_away_and_back_ends_no_run() {
    let warden = Warden::start(long_grace()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let away = warden.dir().join("away");
    fs::rename(warden.lock_dir(), &away).unwrap();
    until_logged(&warden, 1, &["WARN", "lock directory"]).await;
    // Another directory at the path says nothing about the locks of the first one either.
    fs::create_dir(warden.lock_dir()).unwrap();
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
    fs::remove_dir_all(warden.lock_dir()).unwrap();
    fs::rename(&away, warden.lock_dir()).unwrap();
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
    assert!(events(&warden, 1).is_empty());
    // And the same directory without the lock does.
    fs::remove_file(path).unwrap();
    wait(&warden, 1, "completed finished - run1").await;
}

/// A lock that went with its directory is not known to be gone; that its process is, is told.
#[tokio::test]
async fn a_death_is_told_although_another_directory_concludes_nothing() {
    let warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let away = warden.dir().join("away");
    fs::rename(warden.lock_dir(), &away).unwrap();
    until_logged(&warden, 1, &["WARN", "lock directory"]).await;
    fs::create_dir(warden.lock_dir()).unwrap();
    job.kill();
    eventually(SOON, || async {
        let now = shown(&warden, 1).await;
        // How it ended is told by newer kernels alone.
        let is_gone = now.starts_with("in_progress unknown process_gone")
            || now == "in_progress unknown killed run1";
        if is_gone { Ok(()) } else { Err(now) }
    })
    .await;
    ticks_pass(&warden).await;
    assert!(shown(&warden, 1).await.starts_with("in_progress unknown "));
    assert!(events(&warden, 1).is_empty());
    fs::remove_dir_all(warden.lock_dir()).unwrap();
    fs::rename(&away, warden.lock_dir()).unwrap();
    wait(&warden, 1, &format!("in_progress waiting {KILLED} run1")).await;
}

#[tokio::test]
async fn another_directory_concludes_nothing_after_a_restart_either() {
    let mut warden = Warden::start(long_grace()).await;
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    warden.kill9();
    fs::rename(warden.lock_dir(), warden.dir().join("away")).unwrap();
    fs::create_dir(warden.lock_dir()).unwrap();
    warden.restart().await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
}

#[tokio::test]
async fn a_missing_one_is_warned_of_once_and_picked_up_when_it_appears() {
    let mut warden = Warden::prepare(long_grace());
    fs::remove_dir(warden.lock_dir()).unwrap();
    warden.launch();
    warden.ready().await;
    // The path, and which key gave it.
    until_logged(&warden, 1, &["WARN", "locks", "migrations.lock_dir"]).await;
    fs::create_dir(warden.lock_dir()).unwrap();
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let about_it = |line: &&str| line.contains("WARN") && line.contains("lock directory");
    let warnings = warden.log().lines().filter(about_it).count();
    assert_eq!(warnings, 1, "{}", warden.log());
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_gets_its_status_and_one_word() {
    let mut warden = Warden::prepare(long_grace());
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    // Root passes over permissions; a mount that is read-only stops everybody. In a mount namespace of its own.
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let dir = warden.lock_dir();
    let mut wrapper: Vec<&str> = job::unshare(&["--mount", "sh", "-c", script, "sh"]);
    wrapper.push(dir.to_str().unwrap());
    warden.launch_under(&wrapper);
    warden.ready().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    until_logged(&warden, 1, &["WARN", "denied"]).await;
    assert!(path.exists());
    assert_eq!(events(&warden, 1), ["1:error"]);
    let mut live = Program::sleeper(warden.dir());
    Lock::new(2, live.pid()).write(&dir);
    wait(&warden, 2, "in_progress alive - run1").await;
    live.kill();
    wait(&warden, 2, &format!("in_progress waiting {KILLED} run1")).await;
    let said = warden.log().lines().filter(|line| line.contains("denied")).count();
    assert_eq!(said, 1, "{}", warden.log());
    // Where it may write again, the removal is finished.
    warden.kill9();
    warden.restart().await;
    super::gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}

#[tokio::test]
async fn what_was_left_aside_in_a_directory_that_is_missing_at_the_start_is_put_back() {
    let mut warden = Warden::prepare(long_grace());
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    // As a removal that was interrupted leaves it; the hash is that of the instance's name, `test-1`.
    fs::rename(&path, warden.lock_dir().join(".procwarden.70a37754.1.99")).unwrap();
    let away = warden.dir().join("away");
    fs::rename(warden.lock_dir(), &away).unwrap();
    warden.launch();
    warden.ready().await;
    until_logged(&warden, 1, &["WARN", "lock directory"]).await;
    fs::rename(&away, warden.lock_dir()).unwrap();
    wait(&warden, 1, "error finished process_gone run1").await;
    super::gone(&path).await;
    assert_eq!(job::asides(&warden.lock_dir()), Vec::<String>::new());
}
