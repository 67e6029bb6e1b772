//! The end of a migration's process: told at once, judged as ever.

use std::collections::BTreeSet;

use serde_json::json;

use super::listener::Listener;
use super::{kernel_tells, told};
use crate::migrations::{KILLED, SOON, events, gone, line, wait};
use crate::support::job::{self, Lock};
use crate::support::kernel::{self, PIDFD_OPEN, Refused};
use crate::support::program::Program;
use crate::support::{Warden, eventually};

/// A service that finds these locks at its start.
async fn started(config: crate::support::WardenConfig, locks: &[Lock]) -> Warden {
    let mut warden = Warden::prepare(config);
    for lock in locks {
        lock.write(&warden.lock_dir());
    }
    warden.launch();
    warden.ready().await;
    warden
}

#[tokio::test]
async fn a_death_is_told_at_once_and_the_row_says_when_it_turns() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let warden = started(told(), &[Lock::new(1, job.pid())]).await;
    wait(&warden, 1, "in_progress alive - run1").await;
    let mut listener = Listener::of(&warden, "/events").await;
    job.kill();
    let event = listener.event().await;
    assert_eq!((event.word.as_str(), &event.id), ("migration", &None));
    assert_eq!(event.data["kind"], "observed");
    assert_eq!((&event.data["id"], &event.data["state"]), (&json!(1), &json!("waiting")));
    assert_eq!(event.data["mb_project_uuid"], job::uuid(1));
    // Its parent reaped it at once or a moment later; how it ended is told then.
    let row = if kernel_tells() {
        wait(&warden, 1, "in_progress waiting killed run1").await
    } else {
        wait(&warden, 1, "in_progress waiting process_gone run1").await
    };
    let turns_at = row["turns_at"].as_str().unwrap();
    let since = row["created_at"].as_str().unwrap();
    let turns_at = chrono::DateTime::parse_from_rfc3339(turns_at).unwrap();
    let left = turns_at - chrono::DateTime::parse_from_rfc3339(since).unwrap();
    // The lock was written a moment before it was seen first.
    assert!((590..=601).contains(&left.num_seconds()), "{left}");
    if kernel_tells() {
        assert_eq!(row["exit"], json!({"signal": "SIGKILL"}));
    }
    let status = warden.get("/migrations/1/status").await.json;
    assert_eq!(status["data"]["turns_at"], row["turns_at"]);
    assert_eq!(status["data"]["exit"], row["exit"]);
    assert!(events(&warden, 1).is_empty(), "the grace holds");
}

#[tokio::test]
async fn the_end_of_the_grace_is_kept_without_a_tick() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let lock = Lock::new(1, job.pid());
    let warden = started(told().set("migrations.grace", "2s"), &[lock]).await;
    wait(&warden, 1, "in_progress alive - run1").await;
    let mut listener = Listener::of(&warden, "/events").await;
    job.kill();
    let flip = listener.flip().await;
    assert_eq!((&flip.data["id"], &flip.data["state"]), (&json!(1), &json!("finished")));
    let row = wait(&warden, 1, &format!("error finished {KILLED} run1")).await;
    assert!(row.get("turns_at").is_none(), "{row}");
    assert_eq!(events(&warden, 1), ["1:error"]);
    gone(&warden.lock_dir().join(job::file_name(1))).await;
}

#[tokio::test]
async fn how_it_ended_is_told_and_outlives_a_restart() {
    if !kernel_tells() {
        println!("NOT SHOWN: this kernel does not tell");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("job.log");
    let mut job =
        Program::start("sh", ["-c", "sleep 600 & wait $!; exit 7"], dir.path(), &out, &[]);
    let mut warden = started(told(), &[Lock::new(1, job.pid())]).await;
    wait(&warden, 1, "in_progress alive - run1").await;
    let child = eventually(SOON, || async {
        let path = format!("/proc/{0}/task/{0}/children", job.pid());
        let children = std::fs::read_to_string(path).unwrap();
        children.split(' ').next().and_then(|pid| pid.parse().ok()).ok_or(children)
    })
    .await;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    job.reap();
    let row = wait(&warden, 1, "in_progress waiting exited run1").await;
    assert_eq!(row["exit"], json!({"code": 7}));
    warden.reconfigure(|config| config.set("migrations.grace", "1s"));
    warden.restart().await;
    let row = wait(&warden, 1, "error finished exited run1").await;
    assert_eq!(row["exit"], json!({"code": 7}));
    let error = row["changes_json"]["error"].as_str().unwrap();
    assert!(error.contains("exited with code 7"), "{error}");
}

#[tokio::test]
async fn one_process_of_several_locks_ends_for_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let locks: Vec<_> = (1..=3).map(|id| Lock::new(id, job.pid())).collect();
    let warden = started(told(), &locks).await;
    for id in 1..=3 {
        wait(&warden, id, "in_progress alive - run1").await;
    }
    assert_eq!(kernel::pidfds(warden.pid()), [job.pid()], "one handle for all");
    job.kill();
    for id in 1..=3 {
        wait(&warden, id, &format!("in_progress waiting {KILLED} run1")).await;
    }
}

#[tokio::test]
async fn two_hundred_deaths_at_once_are_all_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut jobs: Vec<_> = (0..200).map(|_| Program::sleeper(dir.path())).collect();
    let locks: Vec<_> = (1..).zip(&jobs).map(|(id, job)| Lock::new(id, job.pid())).collect();
    let warden = started(told(), &locks).await;
    let all = |state: &'static str| {
        let warden = &warden;
        async move {
            let path = format!("/migrations?state={state}");
            let is_all = |count: &serde_json::Value| *count == 200;
            warden.until(&path, SOON, |it| is_all(&it.json["count"]).then_some(())).await;
        }
    };
    all("alive").await;
    let mut listener = Listener::of(&warden, "/events").await;
    for job in &jobs {
        job.kill_unreaped();
    }
    let mut observed = BTreeSet::new();
    while observed.len() < 200 {
        let event = listener.event().await;
        assert_eq!(event.data["state"], "waiting");
        observed.insert(event.data["id"].as_i64().unwrap());
    }
    all("waiting").await;
    for job in &mut jobs {
        job.reap();
    }
}

/// The first look at everything takes a while longer, in which a process ends; and each judgement is made slow, so that
/// it is judged for many seconds.
#[tokio::test]
async fn a_death_is_told_while_much_else_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let others = Program::sleeper(dir.path());
    let mut locks = vec![Lock::new(1, job.pid())];
    locks.extend((2..=800).map(|id| Lock::new(id, others.pid())));
    let mut warden = started(told(), &locks).await;
    wait(&warden, 1, "in_progress alive - run1").await;
    // Logged at the end of the first look at everything that was judged.
    let judged = |warden: &Warden| warden.log().matches("source=Processes watch=On").count();
    assert_eq!(judged(&warden), 1);
    warden.reconfigure(|config| {
        config.env("FAILPOINTS", "migrations-looked=1*sleep(1500);migration-judged=sleep(10)")
    });
    warden.kill9();
    warden.launch();
    eventually(SOON, || async {
        let held = kernel::pidfds(warden.pid());
        if held.contains(&job.pid()) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    let mut listener = Listener::of(&warden, "/events").await;
    job.kill();
    let event = listener.event().await;
    assert_eq!((&event.data["id"], &event.data["kind"]), (&json!(1), &json!("observed")));
    assert_eq!(judged(&warden), 1, "the others are still judged");
}

#[tokio::test]
async fn without_events_the_interval_sees_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let config = told().set("events.enabled", false).set("migrations.interval", "200ms");
    let warden = started(config, &[Lock::new(1, job.pid())]).await;
    wait(&warden, 1, "in_progress alive - run1").await;
    assert_eq!(warden.get("/readyz?verbose").await.json["components"]["events"], "off");
    let mut listener = Listener::of(&warden, "/events").await;
    job.kill();
    let event = listener.event().await;
    assert_eq!(
        (&event.data["kind"], &event.data["state"]),
        (&json!("observed"), &json!("waiting"))
    );
    wait(&warden, 1, &format!("in_progress waiting {KILLED} run1")).await;
}

#[tokio::test]
async fn where_pidfds_are_refused_it_is_said_and_found_by_looking() {
    let errno = rustix::io::Errno::NOSYS.raw_os_error();
    let Some(wrapper) = kernel::without_syscalls(&[Refused { call: PIDFD_OPEN, errno }]) else {
        println!("NOT SHOWN: no numbers of system calls for {}", std::env::consts::ARCH);
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut job = Program::sleeper(dir.path());
    let mut warden = Warden::prepare(told().set("migrations.interval", "200ms"));
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    warden.launch_under(&words);
    warden.ready().await;
    wait(&warden, 1, "in_progress alive - run1").await;
    let ready = warden
        .until("/readyz?verbose", SOON, |it| {
            (it.json["components"]["events"] == "polling").then(|| it.json.clone())
        })
        .await;
    assert_eq!(ready["status"], "ready", "slower is not worse");
    let said = ready["components"]["events_trouble"].to_string();
    assert!(said.contains("1 of 1") && said.contains("pidfd_open"), "{said}");
    job.kill();
    wait(&warden, 1, "in_progress waiting process_gone run1").await;
}

#[tokio::test]
async fn with_too_few_descriptors_the_rest_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut jobs: Vec<_> = (0..300).map(|_| Program::sleeper(dir.path())).collect();
    let mut warden = Warden::prepare(told().set("migrations.interval", "200ms"));
    for (id, job) in (1..).zip(&jobs) {
        Lock::new(id, job.pid()).write(&warden.lock_dir());
    }
    warden.launch_under(&["prlimit", "--nofile=200:200"]);
    warden.ready().await;
    let alive = |count: i64| {
        let warden = &warden;
        async move {
            let seen = |it: &crate::support::Answer| it.json["count"] == count;
            warden.until("/migrations?state=alive", SOON, |it| seen(it).then_some(())).await;
        }
    };
    alive(300).await;
    let held = kernel::pidfds(warden.pid());
    assert!(!held.is_empty() && held.len() <= 72, "{}", held.len());
    let components = warden.get("/readyz?verbose").await.json["components"].clone();
    let said = components["events_trouble"].to_string();
    assert!(said.contains("of 300") && said.contains("too many open files"), "{components}");
    let is_held = |job: &Program| held.contains(&job.pid());
    let watched = jobs.iter().position(is_held).unwrap();
    let unwatched = jobs.iter().position(|job| !is_held(job)).unwrap();
    for at in [watched, unwatched] {
        jobs[at].kill();
    }
    alive(298).await;
    let waiting = warden.get("/migrations?state=waiting").await.json;
    assert_eq!(waiting["count"], 2, "{waiting}");
    assert!(waiting["data"].as_array().unwrap().iter().all(|row| !line(row).contains("alive")));
}
