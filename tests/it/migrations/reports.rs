//! The runner's own word: `PATCH /migrations/{id}`.

use std::fs;

use serde_json::json;

use super::{events, gone, long_grace, row, shown, source, ticks_pass, wait};
use crate::support::Warden;
use crate::support::job::{self, Lock, report};
use crate::support::program::Program;

#[tokio::test]
async fn it_ends_the_run_and_the_lock_that_stays_reopens_nothing() {
    let warden = Warden::start(long_grace()).await;
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let answer = warden.patch("/migrations/1", &report("success")).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    assert_eq!(shown(&warden, 1).await, "success finished reported run1");
    assert_eq!(source(&warden, 1), "runner");
    ticks_pass(&warden).await;
    assert_eq!(shown(&warden, 1).await, "success finished reported run1");
    assert!(path.exists(), "its process lives");

    assert_eq!(warden.patch("/migrations/1", &report("success")).await.status, 200, "again");
    let other = warden.patch("/migrations/1", &report("error")).await;
    assert_eq!((other.status, &other.json["code"]), (409, &"already_finished".into()));
    let run = json!({"status": "success", "run": 2});
    let mismatch = warden.patch("/migrations/1", &run).await;
    assert_eq!((mismatch.status, &mismatch.json["code"]), (409, &"run_mismatch".into()));
    assert_eq!(events(&warden, 1), ["1:success"]);

    job.kill();
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:success"]);
}

#[tokio::test]
async fn a_runner_that_was_done_between_two_ticks() {
    let warden = Warden::start(long_grace().set("migrations.interval", "1h")).await;
    let not_found = warden.patch("/migrations/1", &report("success")).await;
    assert_eq!(not_found.status, 404);
    let body = json!({"status": "success", "mb_project_uuid": job::uuid(1)});
    assert_eq!(warden.patch("/migrations/1", &body).await.status, 200);
    assert_eq!(shown(&warden, 1).await, "success finished reported run1");
    assert_eq!(source(&warden, 1), "runner");

    // With its lock still there the id is enough, and the row learns whose it was.
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(2, job.pid()).write(&warden.lock_dir());
    assert_eq!(warden.patch("/migrations/2", &report("error")).await.status, 200);
    assert_eq!(shown(&warden, 2).await, "error finished reported run1");
    assert_eq!(row(&warden, 2)["lock_pid"], job.pid());
    job.kill();
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn it_corrects_what_was_only_concluded() {
    let warden = Warden::start(long_grace()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    fs::remove_file(path).unwrap();
    wait(&warden, 1, "completed finished - run1").await;
    let body = json!({"status": "error", "error": "disk full"});
    assert_eq!(warden.patch("/migrations/1", &body).await.status, 200);
    assert_eq!(shown(&warden, 1).await, "error finished reported run1");
    assert_eq!(row(&warden, 1)["error"], "disk full");
}

#[tokio::test]
async fn the_monitors_error_is_not_overwritten() {
    let warden = Warden::start(long_grace()).await;
    let path = Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    gone(&path).await;
    assert_eq!(warden.patch("/migrations/1", &report("error")).await.status, 200);
    let late = warden.patch("/migrations/1", &report("success")).await;
    assert_eq!((late.status, &late.json["code"]), (409, &"already_finished".into()));
}

#[tokio::test]
async fn two_uuids_of_one_id_are_ambiguous() {
    let warden = Warden::start(long_grace()).await;
    for uuid in [job::uuid(1), job::uuid(2)] {
        let body = json!({"status": "success", "mb_project_uuid": uuid});
        assert_eq!(warden.patch("/migrations/1", &body).await.status, 200);
    }
    let answer = warden.patch("/migrations/1", &report("success")).await;
    assert_eq!((answer.status, &answer.json["code"]), (409, &"ambiguous".into()));
    let text = answer.json.to_string();
    assert!(text.contains(&job::uuid(1)) && text.contains(&job::uuid(2)), "{text}");
}

/// Whoever is first: one word stands, said once, and the other side is told.
#[tokio::test]
async fn reports_at_the_moment_of_the_judgement() {
    let warden = Warden::start(long_grace()).await;
    let dir = warden.lock_dir();
    for round in 0..10_i64 {
        let id = 100 + round;
        let path = Lock::new(id, job::dead_pid(warden.dir())).ago(9000).write(&dir);
        wait(&warden, id, "in_progress gone process_gone run1").await;
        // Reports from before the second look until after it.
        let said = crate::support::eventually(super::SOON, || async {
            let body = json!({"status": "success", "run": 1});
            let answer = warden.patch(&format!("/migrations/{id}"), &body).await;
            let judged = row(&warden, id)["status"] != "in_progress";
            if round % 2 == 0 || judged { Ok(answer.status) } else { Err("not judged yet") }
        })
        .await;
        let (status, source) = (row(&warden, id)["status"].clone(), source(&warden, id));
        match said {
            200 => assert_eq!((status, source.as_str()), ("success".into(), "runner")),
            409 => assert_eq!((status, source.as_str()), ("error".into(), "monitor")),
            other => panic!("{other}"),
        }
        gone(&path).await;
        assert_eq!(events(&warden, id).len(), 1, "one end, said once");
    }
}
