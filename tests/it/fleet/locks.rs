//! Lock files belong to the host that sees the process; what the others see is its record.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::host::Host;
use super::{SOON, acquainted, lists, member};
use crate::migrations::{KILLED, gone, wait};
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, db};

/// An instance that watches this directory.
fn watching(name: &str, dir: &Path, scope: &str) -> WardenConfig {
    member(name)
        .set("migrations.lock_dir", dir.to_str().unwrap())
        .set("migrations.scope", scope)
        .set("migrations.grace", "600s")
}

async fn two(database: &Database, dir: &Path, scope: &str) -> [Warden; 2] {
    let (a, b) = tokio::join!(
        Warden::start_on(database, watching("a", dir, scope)),
        Warden::start_on(database, watching("b", dir, scope))
    );
    acquainted(&[&a, &b]).await;
    [a, b]
}

/// `run:status` of each event of a migration, whoever wrote it.
fn events(database: &Database, id: i64) -> Vec<String> {
    let events = db::events_of(database, "migration");
    let its = events.iter().filter(|event| event["name"] == job::uuid(id));
    its.map(|event| format!("{}:{}", event["run"], event["status"].as_str().unwrap())).collect()
}

/// The instance that answers for a migration, by its row.
fn watcher(database: &Database, id: i64) -> String {
    let rows = db::migrations(database);
    let row = rows.into_iter().find(|row| row["brz_project_id"] == id).unwrap();
    row["instance"].as_str().unwrap().to_owned()
}

/// For each of these instances, waits until an old job that dies now is an error and its lock gone: that takes two looks.
async fn looks_pass(wardens: &[&Warden], dir: &Path, id: i64) {
    for (id, warden) in (id..).zip(wardens) {
        let mut job = Program::sleeper(warden.dir());
        let path = Lock::new(id, job.pid()).started_ago(9000).write(dir);
        wait(warden, id, "in_progress alive - run1").await;
        job.kill();
        gone(&path).await;
        wait(warden, id, &format!("error finished {KILLED} run1")).await;
        assert_eq!(events(warden.database(), id), ["1:error"]);
    }
}

#[tokio::test]
async fn on_a_shared_directory_a_job_of_elsewhere_is_foreign_to_all() {
    if !engine::is_shared() {
        return;
    }
    let (database, dir) = (Engine::current().fresh(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    let [a, b] = two(&database, dir, "shared").await;
    let path = Lock::new(1, job::dead_pid(a.dir())).ago(9000).write(dir);
    wait(&a, 1, "in_progress foreign - run1").await;
    wait(&b, 1, "in_progress foreign - run1").await;
    let mut mine = Program::sleeper(a.dir());
    let its = Lock::new(2, mine.pid()).started_ago(9000).write(dir);
    for warden in [&a, &b] {
        wait(warden, 2, "in_progress alive - run1").await;
    }
    let one = watcher(&database, 2);
    let (here, there) = if one == "a" { (&a, &b) } else { (&b, &a) };
    let live = |row: Value| row.get("live").cloned();
    assert_eq!(live(wait(here, 2, "in_progress alive - run1").await), None);
    assert_eq!(live(wait(there, 2, "in_progress alive - run1").await), Some(json!(false)));
    // Each lock is one instance's.
    a.until("/instances", SOON, |answer| {
        let locks = answer.json["instances"].as_array().unwrap();
        let counted: i64 = locks.iter().map(|row| row["locks"].as_i64().unwrap()).sum();
        (counted == 2).then_some(())
    })
    .await;
    mine.kill();
    gone(&its).await;
    for warden in [&a, &b] {
        wait(warden, 2, &format!("error finished {KILLED} run1")).await;
    }
    looks_pass(&[&a, &b], dir, 100).await;
    assert_eq!(events(&database, 2), ["1:error"]);
    assert_eq!(watcher(&database, 2), one);
    for warden in [&a, &b] {
        wait(warden, 1, "in_progress foreign - run1").await;
    }
    assert!(path.exists(), "a foreign lock stays");
    assert!(events(&database, 1).is_empty());
    assert!(job::asides(dir).is_empty());
}

/// A directory that is mounted over another one by FUSE, as long as this lives.
struct Bound {
    at: PathBuf,
    _fuse: Program,
}

impl Bound {
    /// None where it cannot be had; says why.
    async fn mount(dir: &Path) -> Option<Self> {
        let missing = |what: &str| {
            eprintln!("not shown on FUSE: {what}");
            None
        };
        if Command::new("bindfs").arg("--version").output().is_err() {
            return missing("bindfs is not installed");
        }
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            return missing("no root, or no /dev/fuse");
        }
        let (from, at) = (dir.join("under"), dir.join("over"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&at).unwrap();
        let words = ["-f", from.to_str().unwrap(), at.to_str().unwrap()];
        let mut fuse = Program::start("bindfs", words, dir, &dir.join("bindfs.log"), &[]);
        let device = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata(path).map(|it| it.dev()).ok()
        };
        let mounted = crate::support::eventually(SOON, || {
            let ended = fuse.exited().is_some();
            let there = device(&at) != device(dir);
            async move { if there || ended { Ok(there) } else { Err("not mounted yet") } }
        })
        .await;
        if !mounted {
            return missing(&format!("bindfs does not mount: {}", fuse.log()));
        }
        Some(Self { at, _fuse: fuse })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

#[tokio::test]
async fn a_directory_on_fuse_is_found_to_be_shared() {
    if !engine::is_shared() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(bound) = Bound::mount(dir.path()).await else { return };
    let database = Engine::current().fresh();
    let warden = Warden::start_on(&database, watching("a", &bound.at, "auto")).await;
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&bound.at);
    wait(&warden, 1, "in_progress foreign - run1").await;
    looks_pass(&[&warden], &bound.at, 100).await;
    wait(&warden, 1, "in_progress foreign - run1").await;
    assert!(path.exists(), "a foreign lock stays");
    // The same directory without FUSE in between is this host's own.
    drop(warden);
    let under = dir.path().join("under");
    let warden = Warden::start_on(&database, watching("a", &under, "auto")).await;
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
}

/// Two instances, one host, one directory: each is sure that the PIDs are its own, and one of them acts.
#[tokio::test]
async fn two_that_see_the_same_jobs_judge_each_once() {
    if !engine::is_shared() {
        return;
    }
    let (database, dir) = (Engine::current().fresh(), tempfile::tempdir().unwrap());
    let [a, b] = two(&database, dir.path(), "local").await;
    let mut jobs: Vec<(i64, Program)> = (1..=8).map(|id| (id, Program::sleeper(a.dir()))).collect();
    let mut paths: Vec<PathBuf> = jobs
        .iter()
        .map(|(id, job)| Lock::new(*id, job.pid()).started_ago(9000).write(dir.path()))
        .collect();
    for id in 1..=8 {
        for warden in [&a, &b] {
            wait(warden, id, "in_progress alive - run1").await;
        }
    }
    for (_, job) in &mut jobs {
        job.kill();
    }
    for id in 11..=18 {
        paths.push(Lock::new(id, job::dead_pid(a.dir())).ago(9000).write(dir.path()));
    }
    for path in &paths {
        gone(path).await;
    }
    for id in (1..=8).chain(11..=18) {
        for warden in [&a, &b] {
            wait(warden, id, &format!("error finished {KILLED} run1")).await;
        }
    }
    looks_pass(&[&a, &b], dir.path(), 100).await;
    for id in (1..=8).chain(11..=18) {
        assert_eq!(events(&database, id), ["1:error"], "{id}");
    }
    assert!(job::asides(dir.path()).is_empty());
}

/// `b` runs on a host of its own, with jobs that only it can see.
#[tokio::test]
async fn the_jobs_of_a_lost_host_are_reported_and_not_marked() {
    if !engine::is_shared() {
        return;
    }
    let (database, dir) = (Engine::current().fresh(), tempfile::tempdir().unwrap());
    let locks = dir.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    let host = Host::start(dir.path()).await;
    let a = Warden::start_on(&database, watching("a", &locks, "shared")).await;
    let mut b = Warden::prepare_on(&database, watching("b", &locks, "shared"));
    let words = host.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    b.launch_under(&words);
    b.ready().await;
    let (mut job, pid) = host.job(dir.path()).await;
    let path = Lock::new(1, pid).started_ago(9000).write(&locks);
    wait(&b, 1, "in_progress alive - run1").await;
    wait(&a, 1, "in_progress alive - run1").await;
    assert_eq!(watcher(&database, 1), "b");

    b.kill9();
    lists(&a, "b", "lost").await;
    wait(&a, 1, "in_progress unknown instance_lost run1").await;
    job.kill();
    looks_pass(&[&a], &locks, 100).await;
    let row = wait(&a, 1, "in_progress unknown instance_lost run1").await;
    assert_eq!(row["live"], false);
    let unknown = a.get("/migrations?state=unknown").await.json;
    assert_eq!(unknown["count"], 1, "{unknown:#}");
    let process = a.get("/migrations/1/process").await.json;
    assert!(process.to_string().contains("'b', which is lost"), "{process:#}");
    assert!(path.exists());
    assert!(events(&database, 1).is_empty());

    b.launch_under(&words);
    b.ready().await;
    // Nobody reaps what is left over on that host.
    let dead = format!("error finished {KILLED}|process_zombie run1");
    for warden in [&a, &b] {
        wait(warden, 1, &dead).await;
    }
    gone(&path).await;
    assert_eq!(events(&database, 1), ["1:error"]);
}

/// One that is restarted goes on with its own jobs, those that ended meanwhile too.
#[tokio::test]
async fn another_one_on_the_same_host_finishes_what_a_lost_one_began() {
    if !engine::is_shared() {
        return;
    }
    let (database, dir) = (Engine::current().fresh(), tempfile::tempdir().unwrap());
    let mut a = Warden::start_on(&database, watching("a", dir.path(), "local")).await;
    let mut job = Program::sleeper(dir.path());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(dir.path());
    wait(&a, 1, "in_progress alive - run1").await;
    let b = Warden::start_on(&database, watching("b", dir.path(), "local")).await;
    wait(&b, 1, "in_progress alive - run1").await;
    a.kill9();
    job.kill();
    wait(&b, 1, &format!("error finished {KILLED} run1")).await;
    gone(&path).await;
    a.restart().await;
    wait(&a, 1, &format!("error finished {KILLED} run1")).await;
    assert_eq!(events(&database, 1), ["1:error"]);
}

/// Four that start at once on a directory full of locks: all insert the same rows.
#[tokio::test]
async fn first_sights_of_many_locks_at_once_all_succeed() {
    if !engine::is_shared() {
        return;
    }
    let (database, dir) = (Engine::current().fresh(), tempfile::tempdir().unwrap());
    let job = Program::sleeper(dir.path());
    for id in 1..=200 {
        Lock::new(id, job.pid()).write(dir.path());
    }
    let watch = |name: &str| Warden::prepare_on(&database, watching(name, dir.path(), "local"));
    let mut wardens = ["a", "b", "c", "d"].map(watch);
    wardens.iter_mut().for_each(Warden::launch);
    for warden in &mut wardens {
        warden.ready().await;
    }
    for warden in &wardens {
        warden
            .until("/migrations?state=alive", SOON, |answer| {
                (answer.json["count"] == 200).then_some(())
            })
            .await;
        assert!(!warden.log().contains("the database fails"), "{}", warden.log());
    }
    assert_eq!(db::migrations(&database).len(), 200);
}
