//! procwarden is killed at a fail point and started again without it.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::migrations::{SOON, events, gone, long_grace, row, shown, source, wait};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, db, eventually};

/// A dead job's old lock and a live job's; death at `point` (the crate `fail`'s syntax for what happens there).
async fn dies_at(point: &str, action: &str) {
    let config = long_grace().env("FAILPOINTS", &format!("{point}={action}"));
    let mut warden = Warden::prepare(config);
    let dir = warden.lock_dir();
    let live = Program::sleeper(warden.dir());
    let kept = Lock::new(2, live.pid()).started_ago(9000).write(&dir);
    let kept_text = fs::read(&kept).unwrap();
    let stale = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
    warden.launch();
    let status = warden.wait_exit().await;
    assert_eq!(status.signal(), Some(9), "{point}: {status}; {}", warden.log());
    assert!(kept.exists(), "{point}: the live lock at the moment of the kill");

    warden.reconfigure(|config| config.env("FAILPOINTS", ""));
    warden.restart().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&stale).await;
    no_asides(&warden).await;
    wait(&warden, 2, "in_progress alive - run1").await;
    crate::migrations::ticks_pass(&warden).await;

    assert_eq!(shown(&warden, 1).await, "error finished process_gone run1", "{point}");
    assert_eq!(source(&warden, 1), "monitor", "{point}");
    assert_eq!(events(&warden, 1), ["1:error"], "{point}: exactly one event");
    assert!(events(&warden, 2).is_empty(), "{point}");
    let rows = db::migrations(warden.database());
    let of_it = rows.iter().filter(|row| row["brz_project_id"] == 1).count();
    assert_eq!(of_it, 1, "{point}: one row");
    assert_eq!(fs::read(&kept).unwrap(), kept_text, "{point}: the live lock");
    assert!(row(&warden, 2)["error"].is_null());
}

async fn no_asides(warden: &Warden) {
    eventually(SOON, || async {
        let left = job::asides(&warden.lock_dir());
        if left.is_empty() { Ok(()) } else { Err(format!("left aside: {left:?}")) }
    })
    .await;
}

macro_rules! dies_at {
    ($($name:ident: $point:literal, $action:literal;)+) => {
        $(#[tokio::test]
        async fn $name() {
            dies_at($point, $action).await;
        })+
    };
}

dies_at! {
    the_first_row_is_inserted: "row-inserted", "return";
    before_the_compare_and_set: "before-flip", "return";
    inside_the_transaction_of_the_first_row: "in-transaction", "return";
    // The first transaction inserts both rows, the second is the flip's.
    inside_the_transaction_of_the_flip: "in-transaction", "1*off->return";
    after_the_flip: "after-flip", "return";
    before_the_lock_is_set_aside: "lock-before-rename", "return";
    the_lock_is_aside: "lock-renamed", "return";
    the_lock_is_compared: "lock-compared", "return";
    the_lock_is_unlinked: "lock-unlinked", "return";
    before_the_first_publication: "before-publish", "return";
    before_a_later_publication: "before-publish", "3*off->return";
}

#[tokio::test]
async fn killed_again_and_again_at_every_step_of_the_removal() {
    let mut warden = Warden::prepare(long_grace());
    let stale = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    let points = [
        "row-inserted",
        "before-flip",
        "after-flip",
        "lock-before-rename",
        "lock-renamed",
        "lock-compared",
    ];
    for point in points {
        warden.reconfigure(|config| config.env("FAILPOINTS", &format!("{point}=return")));
        warden.launch();
        assert_eq!(warden.wait_exit().await.signal(), Some(9), "{point}; {}", warden.log());
    }
    warden.reconfigure(|config| config.env("FAILPOINTS", ""));
    warden.restart().await;
    gone(&stale).await;
    no_asides(&warden).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
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
