//! Every file that a lock directory may hold.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{SOON, long_grace, shown, ticks_pass, wait};
use crate::support::Warden;
use crate::support::job::{self, Lock};
use crate::support::program::Program;

/// Name and reason of everything that cannot be judged.
async fn unreadable(warden: &Warden, expected: &[(String, &str)]) -> Vec<(String, String)> {
    warden
        .until("/migrations", SOON, |answer| {
            let list = answer.json["unreadable"].as_array()?;
            let found: Vec<_> = list
                .iter()
                .map(|it| {
                    let text = |key: &str| it[key].as_str().unwrap().to_owned();
                    (text("file"), text("reason"))
                })
                .collect();
            let there = |(file, reason): &(String, &str)| {
                found.iter().any(|(name, why)| name == file && why == reason)
            };
            expected.iter().all(there).then_some(found)
        })
        .await
}

#[tokio::test]
async fn the_examples_of_real_runners() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/locks");
    let warden = Warden::start(long_grace()).await;
    let mut names = Vec::new();
    for entry in fs::read_dir(fixtures).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if Path::new(&name).extension() == Some(OsStr::new("lock")) {
            fs::copy(entry.path(), warden.lock_dir().join(&name)).unwrap();
            names.push(name);
        }
    }
    assert_eq!(names.len(), 8);
    let answer = warden
        .until("/migrations", SOON, |answer| {
            (answer.json["count"] == names.len()).then(|| answer.json.clone())
        })
        .await;
    for name in &names {
        let (uuid, id) = name.trim_end_matches(".lock").rsplit_once('-').unwrap();
        let rows = answer["data"].as_array().unwrap();
        let row = rows.iter().find(|row| row["mb_project_uuid"] == uuid).expect("a row");
        assert_eq!(
            row["brz_project_id"],
            id.parse::<i64>().unwrap(),
            "an integer, whatever the lock has"
        );
    }
    let reason = |ending: &str, reason| {
        (names.iter().find(|name| name.contains(ending)).unwrap().clone(), reason)
    };
    let expected = [
        reason("23131996", "not_json"),
        reason("23131997", "not_json"),
        reason("23131998", "empty"),
    ];
    let found = unreadable(&warden, &expected).await;
    assert_eq!(found.len(), expected.len(), "{found:?}");
    ticks_pass(&warden).await;
    // Without a PID nothing is removed by age alone.
    for ending in ["23131995", "23131996", "23131997", "23131998"] {
        assert!(warden.lock_dir().join(reason(ending, "").0).exists(), "{ending}");
        assert!(shown(&warden, ending.parse().unwrap()).await.starts_with("in_progress"));
    }
    // What the runner adds is kept and shown, the secrets of its webhook are not.
    let one = warden.get("/migrations/23131992").await.json;
    assert!(!one.to_string().contains("wave=7"), "{one:#}");
}

#[tokio::test]
async fn worse_files_are_reported_once_and_stall_nothing() {
    let warden = Warden::start(long_grace()).await;
    let dir = warden.lock_dir();
    let name = job::file_name;
    let write = |name: &str, text: &[u8]| fs::write(dir.join(name), text).unwrap();

    let huge = Lock::new(1, 1).set("padding", "x".repeat(70 * 1024)).text();
    write(&name(1), huge.as_bytes());
    write("target", Lock::new(2, 1).text().as_bytes());
    symlink(dir.join("target"), dir.join(name(2))).unwrap();
    let fifo = dir.join(name(3));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o644),
        0,
    )
    .unwrap();
    fs::create_dir(dir.join(name(4))).unwrap();
    Lock::new(5, -5).ago(9000).write(&dir);
    Lock::new(6, 0).set("pid", 1_u64 << 40).ago(9000).write(&dir);
    Lock::new(7, 0).set("pid", json!({"not": "a number"})).ago(9000).write(&dir);
    write(&name(8), &[0xff, 0xfe, b'{']);
    let not_utf8 = dir.join(OsStr::from_bytes(b"\xff\xfe.lock"));
    fs::write(&not_utf8, Lock::new(9, 1).text()).unwrap();
    write("composer.lock", b"{\"packages\": []}");
    write("composer.json", b"{}");
    // One key twice: the file named by the pattern is judged.
    Lock::new(10, 1).write(&dir);
    write("copy.lock", Lock::new(10, 1).text().as_bytes());
    // A name of the pattern that disagrees with its JSON.
    write(&name(11), Lock::new(12, 1).text().as_bytes());
    write(&name(13), b"[]");

    let job = Program::sleeper(warden.dir());
    Lock::new(99, job.pid()).write(&dir);
    wait(&warden, 99, "in_progress alive - run1").await;
    let expected = [
        (name(1), "too_large"),
        (name(2), "not_a_file"),
        (name(3), "not_a_file"),
        (name(4), "not_a_file"),
        (name(7), "bad_pid"),
        ("copy.lock".to_owned(), "duplicate"),
        (name(11), "id_mismatch"),
    ];
    let found = unreadable(&warden, &expected).await;
    assert!(found.iter().any(|(_, reason)| reason == "not_utf8"), "{found:?}");
    assert!(!found.iter().any(|(file, _)| file.contains("composer")), "{found:?}");

    ticks_pass(&warden).await;
    ticks_pass(&warden).await;
    for id in [1, 2, 3, 4, 5, 6, 7, 8, 11, 13] {
        assert!(fs::symlink_metadata(dir.join(name(id))).is_ok(), "{id} was touched");
    }
    assert!(
        not_utf8.exists() && dir.join("composer.lock").exists() && dir.join("copy.lock").exists()
    );
    for id in [5, 6] {
        assert_eq!(shown(&warden, id).await, "in_progress unknown no_pid run1", "{id}");
    }
    let log = warden.log();
    for (file, _) in &expected {
        let said = log.lines().filter(|line| line.contains("WARN") && line.contains(file.as_str()));
        assert_eq!(said.count(), 1, "{file} in\n{log}");
    }
    assert_eq!(warden.get("/livez").await.status, 200);
}

#[tokio::test]
async fn secrets_of_a_lock_are_masked_and_the_rest_is_shown() {
    let warden = Warden::start(long_grace()).await;
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid())
        .set("webhook_url", "https://bob:hunter2@example.org/hook?key=abc")
        .set("api_token", "s3cret")
        .set("total_pages", 42)
        .set("progress_percent", 40.48)
        .write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    for path in ["/migrations", "/migrations/1", "/migrations/1/status", "/migrations/1/process"] {
        let text = warden.get(path).await.json.to_string();
        for secret in ["hunter2", "abc", "s3cret"] {
            assert!(!text.contains(secret), "{secret} in {path}: {text}");
        }
    }
    let listed: Value = wait(&warden, 1, "in_progress alive - run1").await;
    assert_eq!(listed["total_pages"], 42);
    assert_eq!(listed["progress_percent"], 40.48);
    assert_eq!(listed["current_stage"], "Инициализация миграции");
}
