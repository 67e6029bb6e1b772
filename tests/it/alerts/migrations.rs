//! What of migrations is told: an error, a stall and its end, each once.

use super::{SOON, nothing_waits};
use crate::migrations::wait;
use crate::support::job::{self, Lock, unix_now};
use crate::support::program::Program;
use crate::support::receiver::{Mood, Receiver};
use crate::support::{Warden, WardenConfig};

#[tokio::test]
async fn an_error_is_told_and_its_end_with_the_next_run() {
    let receiver = Receiver::start(Mood::Takes);
    let warden = Warden::start(receiver.told(WardenConfig::default())).await;
    let dir = tempfile::tempdir().unwrap();
    Lock::new(1, job::dead_pid(dir.path())).ago(9000).write(&warden.lock_dir());
    wait(&warden, 1, "error finished process_gone run1").await;
    receiver.hears(SOON, &["migration_error firing 1"]).await;
    let message = receiver.taken().remove(0);
    let alert = &message.json["alerts"][0];
    assert_eq!(alert["subject"]["run"], 1);
    assert_eq!(alert["reason"], "process_gone");
    assert!(alert["message"].as_str().unwrap().contains("is gone"), "{alert}");
    assert_eq!(message.json["summary"], "migration '1' in error: process_gone");
    let live = Program::sleeper(dir.path());
    Lock::new(1, live.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run2").await;
    receiver.hears(SOON, &["migration_error firing 1", "migration_error resolved 1"]).await;
    nothing_waits(&warden).await;
}

#[tokio::test]
async fn a_runners_own_error_is_told_without_its_secrets() {
    let receiver = Receiver::start(Mood::Takes);
    let warden = Warden::start(receiver.told(WardenConfig::default())).await;
    let dir = tempfile::tempdir().unwrap();
    let live = Program::sleeper(dir.path());
    Lock::new(1, live.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let error = format!("\u{1b}[31m<b>password=pw88\r\n{}", "x".repeat(3900));
    let body = serde_json::json!({"status": "error", "error": error});
    let answer = warden.patch("/migrations/1", &body).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    receiver.hears(SOON, &["migration_error firing 1"]).await;
    let message = receiver.taken().remove(0);
    let told = message.json["alerts"][0]["message"].as_str().unwrap().to_owned();
    assert!(told.chars().count() <= 1000 && told.ends_with('…'), "{told}");
    assert!(!message.text.contains("pw88"), "{}", message.text);
    assert!(!told.contains(char::is_control), "{told}");
}

#[tokio::test]
async fn a_stall_is_told_once_and_its_end_once() {
    let receiver = Receiver::start(Mood::Takes);
    let config = WardenConfig::default().set("migrations.stall_after", "3s");
    let warden = Warden::start(receiver.told(config)).await;
    let dir = tempfile::tempdir().unwrap();
    let live = Program::sleeper(dir.path());
    let lock = Lock::new(1, live.pid()).set("stage_updated_at", unix_now());
    lock.write(&warden.lock_dir());
    wait(&warden, 1, "in_progress stalled - run1").await;
    receiver.hears(SOON, &["migration_stalled firing 1"]).await;
    // It says now that it will move for a long time.
    let moving = lock.set("stage_updated_at", unix_now()).set("current_stage", "pages");
    moving.write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    wait(&warden, 1, "in_progress stalled - run1").await;
    let told = ["firing", "resolved", "firing"].map(|it| format!("migration_stalled {it} 1"));
    receiver.hears(SOON, &told.each_ref().map(String::as_str)).await;
    nothing_waits(&warden).await;
    assert_eq!(receiver.told_so_far(), told, "in this order");
}
