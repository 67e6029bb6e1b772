//! Others who act between a judgement and what follows from it.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::migrations::{SOON, events, gone, long_grace, shown, source, ticks_pass, wait};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, db, eventually};

/// Long enough for a test to act on a busy machine; what is slept at most once. It keeps a thread of the service, and
/// with it a request or two: what has to happen meanwhile does not wait for an answer.
const HOLD: &str = "1*sleep(4000)";

fn held_at(point: &str) -> Warden {
    Warden::prepare(long_grace().env("FAILPOINTS", &format!("{point}={HOLD}")))
}

/// The row has become an error and the removal of its lock is held up.
async fn judged(warden: &Warden) {
    eventually(SOON, || async {
        let ends = db::try_query(
            warden.database(),
            "SELECT status FROM procwarden_migrations WHERE brz_project_id = 1 AND status = 'error'",
        )
        .map_err(|error| error.to_string())?;
        if ends.is_empty() { Err("not judged yet".to_owned()) } else { Ok(()) }
    })
    .await;
}

async fn aside(dir: &Path) {
    eventually(SOON, || async {
        if job::asides(dir).is_empty() { Err("nothing is aside") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_lock_replaced_between_judgement_and_removal_stays() {
    let mut warden = held_at("lock-before-rename");
    let dir = warden.lock_dir();
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
    warden.launch();
    judged(&warden).await;
    let live = Program::sleeper(warden.dir());
    let newer = Lock::new(1, live.pid());
    let path = newer.replace(&dir);
    warden.ready().await;
    wait(&warden, 1, "in_progress alive - run2").await;
    ticks_pass(&warden).await;
    assert_eq!(fs::read_to_string(path).unwrap(), newer.text());
    assert!(job::asides(&dir).is_empty());
    assert_eq!(events(&warden, 1), ["1:error", "2:in_progress"]);
}

#[tokio::test]
async fn a_lock_rewritten_in_place_between_judgement_and_removal_stays() {
    let mut warden = held_at("lock-before-rename");
    let dir = warden.lock_dir();
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
    warden.launch();
    judged(&warden).await;
    let live = Program::sleeper(warden.dir());
    let newer = Lock::new(1, live.pid());
    let path = newer.write(&dir);
    warden.ready().await;
    wait(&warden, 1, "in_progress alive - run2").await;
    ticks_pass(&warden).await;
    assert_eq!(fs::read_to_string(path).unwrap(), newer.text());
    assert!(job::asides(&dir).is_empty());
}

#[tokio::test]
async fn a_new_lock_that_appears_while_the_old_one_is_aside_stays() {
    let mut warden = held_at("lock-renamed");
    let dir = warden.lock_dir();
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
    warden.launch();
    aside(&dir).await;
    let live = Program::sleeper(warden.dir());
    let newer = Lock::new(1, live.pid());
    let path = newer.write(&dir);
    warden.ready().await;
    wait(&warden, 1, "in_progress alive - run2").await;
    ticks_pass(&warden).await;
    assert_eq!(fs::read_to_string(path).unwrap(), newer.text());
    assert!(job::asides(&dir).is_empty());
}

#[tokio::test]
async fn a_writer_that_holds_the_lock_open_gets_it_back() {
    for point in ["lock-renamed", "lock-compared"] {
        let mut warden = held_at(point);
        let dir = warden.lock_dir();
        let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
        let mut held = job::hold_open(&path);
        warden.launch();
        aside(&dir).await;
        // The runner of the next attempt writes through what it opened before.
        let live = Program::sleeper(warden.dir());
        let newer = Lock::new(1, live.pid()).text();
        held.set_len(0).unwrap();
        held.seek(SeekFrom::Start(0)).unwrap();
        held.write_all(newer.as_bytes()).unwrap();
        warden.ready().await;
        wait(&warden, 1, "in_progress alive - run2").await;
        ticks_pass(&warden).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), newer, "{point}");
        assert!(job::asides(&dir).is_empty(), "{point}");
    }
}

#[tokio::test]
async fn a_writer_that_holds_the_lock_open_and_writes_nothing_keeps_nothing() {
    let warden = Warden::start(long_grace()).await;
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    let _held = job::hold_open(&path);
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    assert!(job::asides(&warden.lock_dir()).is_empty());
}

/// Another writer of the database ends the run between the look and the compare-and-set.
#[tokio::test]
async fn the_compare_and_set_loses_to_a_row_that_ended_meanwhile() {
    let mut warden = held_at("before-flip");
    let dir = warden.lock_dir();
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&dir);
    warden.launch();
    eventually(SOON, || async {
        let rows = db::try_query(warden.database(), "SELECT id FROM procwarden_migrations")
            .map_err(|error| error.to_string())?;
        if rows.is_empty() { Err("no row yet".to_owned()) } else { Ok(()) }
    })
    .await;
    let ended = db::execute(
        warden.database(),
        "UPDATE procwarden_migrations SET status = 'success', state = 'finished', reason = 'reported', \
         status_source = 'runner', ended_at = 1 WHERE brz_project_id = 1 AND status = 'in_progress'",
    );
    assert_eq!(ended, 1);
    warden.ready().await;
    ticks_pass(&warden).await;
    assert_eq!(source(&warden, 1), "runner");
    assert!(!events(&warden, 1).contains(&"1:error".to_owned()), "{:?}", events(&warden, 1));
}

/// The runner's PATCH arrives while the tick stands between its look and the write.
#[tokio::test]
async fn a_report_at_the_moment_of_the_flip_and_the_flip_do_not_both_count() {
    let mut warden = held_at("before-flip");
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    warden.launch();
    warden.ready().await;
    eventually(SOON, || async {
        let rows = db::migrations(warden.database());
        if rows.is_empty() { Err("no row yet") } else { Ok(()) }
    })
    .await;
    let answer = warden.patch("/migrations/1", &job::report("success")).await;
    ticks_pass(&warden).await;
    let line = shown(&warden, 1).await;
    match answer.status {
        200 => assert_eq!(line, "success finished reported run1"),
        409 => assert_eq!(line, "error finished process_gone run1"),
        other => panic!("{other}: {:#}", answer.json),
    }
    assert_eq!(events(&warden, 1).len(), 1);
}

/// As on a file system whose server is gone: the call does not return, and cannot be taken back.
#[tokio::test]
async fn a_removal_that_hangs_is_told_and_holds_up_no_other_job() {
    let config = long_grace().env("FAILPOINTS", "lock-before-rename=1*sleep(20000)");
    let mut warden = Warden::prepare(config);
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    warden.launch();
    warden.ready().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    eventually(SOON, || async {
        let health = warden.get("/health").await.status;
        assert_eq!(health, 200, "nodes have nothing to do with it");
        if warden.log().contains("the removal of a lock hangs") { Ok(()) } else { Err("not yet") }
    })
    .await;
    // It stands still where it was: the looks go on beside it.
    let live = Program::sleeper(warden.dir());
    Lock::new(2, live.pid()).write(&warden.lock_dir());
    wait(&warden, 2, "in_progress alive - run1").await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}
