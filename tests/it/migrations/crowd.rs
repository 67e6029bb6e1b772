//! A directory of a million files that are nobody's jobs: slower, and nothing is wrong.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{KILLED, events, gone, is_line, line, long_grace};
use crate::support::Warden;
use crate::support::job::Lock;
use crate::support::program::Program;

const FILES: usize = 1_000_000;

/// Names that one file may have: ext4 allows 65,000.
const NAMES: usize = 50_000;

/// Longest wait for a look at all of them by a program that was built without optimisation.
const LONG: Duration = Duration::from_secs(300);

fn crowd(dir: &Path) {
    for some in 0..FILES / NAMES {
        let first = dir.join(format!("{some}-0.lock"));
        fs::write(&first, "{}").unwrap();
        for nth in 1..NAMES {
            fs::hard_link(&first, dir.join(format!("{some}-{nth}.lock"))).unwrap();
        }
    }
}

async fn wait(warden: &Warden, expected: &str) {
    warden
        .until("/migrations?brz_project_id=1", LONG, |answer| {
            is_line(&line(&answer.json["data"][0]), expected).then_some(())
        })
        .await;
}

#[tokio::test]
#[ignore = "slow: a million files"]
async fn a_million_files_hide_no_job_and_no_death() {
    let warden = Warden::start(long_grace()).await;
    let dir = warden.lock_dir();
    let crowded = dir.clone();
    tokio::task::spawn_blocking(move || crowd(&crowded)).await.unwrap();
    let mut job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(9000).write(&dir);
    wait(&warden, "in_progress alive - run1").await;
    job.kill();
    wait(&warden, &format!("error finished {KILLED} run1")).await;
    gone(&path).await;
    assert_eq!(events(&warden, 1), ["1:error"]);
    let left = fs::read_dir(&dir).unwrap().count();
    assert_eq!(left, FILES, "those of others are not touched");
    let all = warden.get("/migrations").await;
    assert_eq!(all.json["data"].as_array().map(Vec::len), Some(1));
}
