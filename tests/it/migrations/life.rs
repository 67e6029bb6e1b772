//! One run from its lock to its end.

use std::fs;
use std::time::Duration;

use super::{
    KILLED, SOON, events, gone, is_line, long_grace, row, shown, source, ticks_pass, wait,
};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, eventually, kernel};

#[tokio::test]
async fn alive_is_left_alone_however_old_its_lock() {
    let warden = Warden::start(WardenConfig::default()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    let before = fs::read(&path).unwrap();
    wait(&warden, 1, "in_progress alive - run1").await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
    assert_eq!(fs::read(&path).unwrap(), before, "procwarden never writes into a lock");
    assert!(events(&warden, 1).is_empty(), "the first sight is no event");
}

#[tokio::test]
async fn stopped_is_alive() {
    let warden = Warden::start(WardenConfig::default()).await;
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    job.signal(rustix::process::Signal::STOP);
    wait(&warden, 1, "in_progress alive - run1").await;
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress alive - run1");
}

#[tokio::test]
async fn dead_and_young_waits() {
    let warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    job.kill();
    let waiting = format!("in_progress waiting {KILLED} run1");
    wait(&warden, 1, &waiting).await;
    ticks_pass(&warden).await;
    let line = shown(&warden, 1).await;
    assert!(is_line(&line, &waiting), "{line}");
    assert!(path.exists());
    assert!(events(&warden, 1).is_empty());
}

#[tokio::test]
async fn dead_and_old_is_an_error_and_its_lock_goes() {
    let warden = Warden::start(long_grace()).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    assert_eq!(source(&warden, 1), "monitor");
    assert!(row(&warden, 1)["error"].as_str().unwrap().contains(&dead.to_string()));
    assert_eq!(events(&warden, 1), ["1:error"]);
    ticks_pass(&warden).await;
    assert_eq!(events(&warden, 1), ["1:error"], "said once");
    assert!(job::asides(&warden.lock_dir()).is_empty());
    let log = warden.log();
    assert_eq!(log.lines().filter(|line| line.contains("lock removed")).count(), 2, "{log}");
}

#[tokio::test]
async fn a_death_inside_the_grace_becomes_an_error_at_its_end() {
    let warden = Warden::start(WardenConfig::default().set("migrations.grace", "4s")).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    job.kill();
    wait(&warden, 1, &format!("in_progress waiting {KILLED} run1")).await;
    wait(&warden, 1, &format!("error finished {KILLED} run1")).await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}

#[tokio::test]
async fn a_zombie_is_dead_and_waits_inside_the_grace() {
    let warden = Warden::start(long_grace()).await;
    let young = Program::sleeper(warden.dir());
    let old = Program::sleeper(warden.dir());
    let young_path = Lock::new(1, young.pid()).write(&warden.lock_dir());
    let old_path = Lock::new(2, old.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    wait(&warden, 2, "in_progress alive - run1").await;
    young.kill_unreaped();
    old.kill_unreaped();
    wait(&warden, 1, "in_progress waiting process_zombie run1").await;
    wait(&warden, 2, "error finished process_zombie run1").await;
    gone(&old_path).await;
    assert!(young_path.exists());
    assert_eq!(kernel::state(young.pid()), Some('Z'), "nobody reaped it for us");
    assert_eq!(shown(&warden, 1).await, "in_progress waiting process_zombie run1");
}

#[tokio::test]
async fn the_second_look_does_not_wait_for_the_next_tick() {
    let config = long_grace().set("migrations.interval", "1h");
    let mut warden = Warden::prepare(config);
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    warden.launch();
    warden.ready().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
}

#[tokio::test]
async fn a_lock_without_a_pid_is_reported_and_kept() {
    let warden = Warden::start(long_grace()).await;
    let lock = Lock::new(1, 0).set("pid", serde_json::Value::Null);
    let path = lock.write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    job::backdate(&path, Duration::from_secs(400));
    wait(&warden, 1, "in_progress unknown no_pid run1").await;
    job::backdate(&path, Duration::from_secs(90_000));
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "in_progress unknown no_pid run1");
    assert!(path.exists());
}

#[tokio::test]
async fn a_restart_of_procwarden_forgets_no_run() {
    let mut warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    warden.kill9();
    job.kill();
    warden.restart().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
}

#[tokio::test]
async fn the_process_route_says_what_would_be_done_and_does_nothing() {
    let config = long_grace().set("migrations.settle", "10m");
    let warden = Warden::start(config).await;
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(701).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress gone process_gone run1").await;
    let answer = eventually(SOON, || async {
        let answer = warden.get("/migrations/1/process").await;
        if answer.status == 200 { Ok(answer.json) } else { Err(answer.status) }
    })
    .await;
    let data = &answer["data"];
    assert_eq!(data["process"]["running"], false);
    assert_eq!(data["process"]["pid"], dead);
    assert_eq!(data["verdict"], "wait");
    assert_eq!(data["status_updated"], false);
    let explain = data["explain"].as_array().unwrap();
    let holds = |name: &str| {
        explain.iter().find(|it| it["predicate"] == name).map(|it| it["holds"].as_bool().unwrap())
    };
    assert_eq!(holds("process_dead"), Some(true));
    assert_eq!(holds("seen_dead_for"), Some(false));
    assert_eq!(holds("lock_age"), Some(true));
    assert_eq!(holds("row_unfinished"), Some(true));
    assert!(path.exists());
    assert!(events(&warden, 1).is_empty());
}
