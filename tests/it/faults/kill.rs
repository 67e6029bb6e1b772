//! What a killed procwarden left aside; that it may be killed at every step is in `matrix/`.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::migrations::{SOON, events, long_grace, wait};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, eventually};

async fn no_asides(warden: &Warden) {
    eventually(SOON, || async {
        let left = job::asides(&warden.lock_dir());
        if left.is_empty() { Ok(()) } else { Err(format!("left aside: {left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_lock_left_aside_gives_way_to_a_newer_one() {
    let mut warden = Warden::prepare(long_grace().env("FAILPOINTS", "lock-renamed=return"));
    let dir = warden.lock_dir();
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
    warden.launch();
    assert_eq!(warden.wait_exit().await.signal(), Some(9));
    assert_eq!(job::asides(&dir).len(), 1);
    // The next attempt begins while procwarden is down.
    let live = Program::sleeper(warden.dir());
    let newer = Lock::new(1, live.pid());
    let path = newer.write(&dir);
    warden.reconfigure(|config| config.env("FAILPOINTS", ""));
    warden.restart().await;
    wait(&warden, 1, "in_progress alive - run2").await;
    no_asides(&warden).await;
    assert_eq!(fs::read_to_string(path).unwrap(), newer.text(), "the live lock is untouched");
    assert_eq!(events(&warden, 1), ["1:error", "2:in_progress"]);
}

#[tokio::test]
async fn an_aside_file_of_another_instance_is_not_ours() {
    let mut warden = Warden::prepare(long_grace());
    let other = warden.lock_dir().join(".procwarden.00000000.1.42");
    fs::write(&other, Lock::new(1, 1).text()).unwrap();
    warden.launch();
    warden.ready().await;
    crate::migrations::ticks_pass(&warden).await;
    assert!(other.exists());
}
