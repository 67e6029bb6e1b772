//! In shadow beside the earlier monitor, on one directory: where the two differ, and by which rule.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::migrations::{SOON, is_line, line, wait};
use crate::support::engine::{self, Engine};
use crate::support::job::{self, Elsewhere, Lock};
use crate::support::old_monitor::OldMonitor;
use crate::support::program::Program;
use crate::support::theirs::{Table, changed};
use crate::support::{Warden, WardenConfig, eventually};

/// Older than the grace of both.
const OLD: Duration = Duration::from_secs(900);

fn shadow() -> WardenConfig {
    WardenConfig::default()
        .set("migrations.grace", "600s")
        .set("adopt.mode", "shadow")
        .set("adopt.migrations", "migrations_mapping")
}

/// A lock as a runner left it, written last a long time ago.
fn left_by_a_runner(dir: &Path, id: i64, pid: Option<i32>) -> PathBuf {
    let path = held_by_a_runner(dir, id, pid);
    job::backdate(&path, OLD);
    path
}

/// A lock as a runner wrote it just now; `pid` instead of the one that it names.
fn held_by_a_runner(dir: &Path, id: i64, pid: Option<i32>) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/locks");
    let names = fs::read_dir(fixtures).unwrap().map(|it| it.unwrap().path());
    let from = names.into_iter().find(|it| it.to_str().unwrap().ends_with(&format!("-{id}.lock")));
    let from = from.expect("a lock of that id");
    let mut text = fs::read_to_string(&from).unwrap();
    if let Some(pid) = pid {
        let lock: Value = serde_json::from_str(&text).unwrap();
        let named = lock["pid"].to_string();
        text =
            text.replace(&format!("\"pid\": {named}"), &format!("\"pid\": {}", like(&named, pid)));
        assert!(text.contains(&pid.to_string()), "{text}");
    }
    let to = dir.join(from.file_name().unwrap());
    fs::write(&to, text).unwrap();
    to
}

/// A number as text, where the lock had it so.
fn like(named: &str, pid: i32) -> String {
    if named.starts_with('"') { format!("\"{pid}\"") } else { pid.to_string() }
}

fn uuid_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap()[..36].to_owned()
}

/// A process that has ended and that nobody has reaped.
struct Zombie(Child);

impl Zombie {
    fn new() -> Self {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        child.kill().unwrap();
        Self(child)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        self.0.wait().unwrap();
    }
}

/// `ID CODE` of everything in the report, open or over.
async fn found(warden: &Warden) -> BTreeSet<String> {
    let report = warden.get("/adopt/report").await.json;
    let findings = report["findings"].as_array().expect("a list");
    let word = |it: &Value| {
        let subject = it["subject"].as_str().unwrap();
        let id = subject.rsplit('-').next().unwrap();
        format!("{id} {}", it["code"].as_str().unwrap())
    };
    findings.iter().map(word).collect()
}

fn lines(warden_rows: &Value) -> Vec<(i64, String)> {
    let rows = warden_rows["data"].as_array().expect("a list");
    rows.iter().map(|row| (row["brz_project_id"].as_i64().unwrap(), line(row))).collect()
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one table, from left to right")]
async fn every_difference_is_one_of_the_table() {
    if !rustix::process::geteuid().is_root() {
        println!("nothing to show without root: PIDs are given and namespaces made");
        return;
    }
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let warden = Warden::start_on(&database, shadow()).await;
    let (dir, locks) = (warden.dir().to_owned(), warden.lock_dir());
    // A row that appears after a death was seen is one set anew, which is given a grace: the rows are there first.
    let there = tempfile::tempdir_in(&dir).unwrap();
    let live = Program::sleeper(&dir);
    let as_text = Program::sleeper(&dir);
    let mut touched = Program::sleeper(&dir);
    let mut stolen = Program::passing(&dir);
    let zombie = Zombie::new();
    let elsewhere = Elsewhere::start(&dir).await;
    let dead = job::dead_pid(&dir);

    let mut paths = vec![
        held_by_a_runner(there.path(), 23_131_991, Some(live.pid())),
        left_by_a_runner(there.path(), 23_131_992, Some(dead)),
        held_by_a_runner(there.path(), 23_131_993, Some(as_text.pid())),
        held_by_a_runner(there.path(), 23_131_994, Some(touched.pid())),
    ];
    for id in 23_131_995..=23_131_998 {
        paths.push(left_by_a_runner(there.path(), id, None));
    }
    // What else the two can see: a zombie, a PID that another process got, one of another PID namespace.
    paths.push(Lock::new(1, zombie.pid()).ago(900).write(there.path()));
    paths.push(Lock::new(2, stolen.pid()).started_ago(900).write(there.path()));
    paths.push(Lock::new(3, elsewhere.inner_pid()).ago(900).write(there.path()));
    for path in &paths {
        let id: i64 = path
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .rsplit('-')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let row = json!({"brz_project_id": id, "mb_project_uuid": uuid_of(path),
                         "changes_json": {"status": "in_progress"}});
        Table::Mapping.insert(&database, &row);
    }
    for path in &mut paths {
        let place = locks.join(path.file_name().unwrap());
        fs::rename(&*path, &place).unwrap();
        *path = place;
    }
    for (id, expected) in [
        (23_131_991, "in_progress alive - run1"),
        (23_131_993, "in_progress alive - run1"),
        (23_131_994, "in_progress alive - run1"),
        (23_131_995, "in_progress unknown no_pid run1"),
        (23_131_998, "in_progress unknown no_pid run1"),
        (2, "in_progress alive - run1"),
        (3, "in_progress unknown pid_namespace run1"),
    ] {
        wait(&warden, id, expected).await;
    }

    let monitor = OldMonitor::start(&locks, Duration::from_millis(100), 600, Some(&database));
    monitor.round().await;
    touched.kill();
    let pid = stolen.pid();
    stolen.kill();
    let _stranger = job::spawn_as(pid, &dir);

    let expected: BTreeSet<String> = [
        // Its last write, by the earlier monitor, is young; it began long ago.
        "23131994 error_here_only",
        "23131994 lock_there_only",
        // Without a PID they go by age alone there, and no word of theirs follows.
        "23131995 lock_here_only",
        "23131995 completed_here_only",
        "23131996 lock_here_only",
        "23131996 completed_here_only",
        "23131997 lock_here_only",
        "23131997 completed_here_only",
        "23131998 lock_here_only",
        "23131998 completed_here_only",
        // kill(pid, 0) finds a zombie, and a stranger.
        "1 error_here_only",
        "1 lock_there_only",
        "2 error_here_only",
        "2 lock_there_only",
        // kill(pid, 0) does not find who has that number in another namespace.
        "3 lock_here_only",
    ]
    .map(str::to_owned)
    .into();
    eventually(SOON, || async {
        let found = found(&warden).await;
        let missing: Vec<&String> = expected.difference(&found).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            // Why is told by what would be done with it, and by what it is waited for.
            let first = missing[0].split(' ').next().unwrap();
            let process = warden.get(&format!("/migrations/{first}/process")).await.json;
            Err(format!("missing {missing:?}; {process:#}; {}", warden.log()))
        }
    })
    .await;
    let more: BTreeSet<String> = found(&warden).await.difference(&expected).cloned().collect();
    // Ours may be earlier by a look, or later: what passes by itself is over.
    let passing =
        ["23131992 error_here_only", "23131992 lock_there_only"].map(str::to_owned).into();
    assert!(more.is_subset(&passing), "{more:?}");

    let table = include_str!("../../../docs/switching.md");
    for it in &expected {
        let code = it.split(' ').nth(1).unwrap();
        assert!(
            table.contains(&format!("| `{code}` |")),
            "docs/switching.md does not explain {code}"
        );
    }
    let rows = warden.get("/migrations").await.json;
    let of = |id: i64| lines(&rows).into_iter().find(|(it, _)| *it == id).expect("a row").1;
    assert_eq!(of(23_131_991), "in_progress alive - run1");
    assert!(is_line(&of(23_131_992), "error finished process_gone|- run1"), "{}", of(23_131_992));
    assert!(is_line(&of(1), "error finished process_zombie run1"), "{}", of(1));
    assert!(is_line(&of(2), "error finished pid_reused|killed|process_gone run1"), "{}", of(2));
    assert!(is_line(&of(3), "error finished - run1"), "{}", of(3));
}

#[tokio::test]
async fn a_lock_that_the_earlier_monitor_rewrites_makes_no_progress_and_no_row() {
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let warden = Warden::start_on(&database, shadow()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(900).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    let before = crate::migrations::row(&warden, 1);
    let monitor =
        OldMonitor::start(&warden.lock_dir(), Duration::from_millis(20), 600, Some(&database));
    for _ in 0..5 {
        monitor.round().await;
    }
    eventually(SOON, || async {
        // It is written in place, so a reader may find half of it.
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("last_check_timestamp") { Ok(()) } else { Err(text) }
    })
    .await;
    // A look that began after the last of them.
    let _second = Program::sleeper(warden.dir());
    Lock::new(2, job.pid()).write(&warden.lock_dir());
    wait(&warden, 2, "in_progress alive - run1").await;
    assert_eq!(crate::migrations::row(&warden, 1), before, "a touch is not worth a write");
}

#[tokio::test]
async fn shadow_leaves_a_read_only_directory_as_it_is_and_does_not_complain() {
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let row = json!({"brz_project_id": 1, "mb_project_uuid": job::uuid(1),
                     "changes_json": {"status": "in_progress"}});
    Table::Mapping.insert(&database, &row);
    let mut warden = Warden::prepare_on(&database, shadow());
    let locks = warden.lock_dir();
    Lock::new(1, job::dead_pid(warden.dir())).ago(9000).write(&locks);
    let (before, theirs) = (state_of(&locks), Table::Mapping.rows(&database));
    let mount = format!(
        "mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec \"$@\"",
        locks.display()
    );
    let mut words: Vec<&str> = job::unshare(&["--mount", "sh", "-c"]);
    words.extend([mount.as_str(), "sh"]);
    warden.launch_under(&words);
    warden.ready().await;
    wait(&warden, 1, "error finished process_gone run1").await;
    eventually(SOON, || async {
        let found = found(&warden).await;
        if found.contains("1 lock_there_only") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(state_of(&locks), before);
    assert_eq!(changed(&theirs, &Table::Mapping.rows(&database)), [""; 0]);
    let log = warden.log();
    assert!(!log.contains("denied") && !log.contains("not removed"), "{log}");
}

/// Names, contents and times of a directory.
fn state_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let entries = fs::read_dir(dir).unwrap().map(|it| it.unwrap());
    let mut state: Vec<_> = entries
        .map(|it| {
            (it.path(), fs::read(it.path()).unwrap(), it.metadata().unwrap().modified().unwrap())
        })
        .collect();
    state.sort();
    state
}

#[tokio::test]
async fn a_living_job_that_their_monitor_calls_dead_is_told_although_its_lock_goes_at_once() {
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let row = json!({"brz_project_id": 1, "mb_project_uuid": job::uuid(1),
                     "changes_json": {"status": "in_progress"}});
    Table::Mapping.insert(&database, &row);
    let warden = Warden::start_on(&database, shadow()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(900).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    // As a monitor does that may not send this process a signal.
    let error = json!({"changes_json": {"status": "error", "monitor_updated": true}});
    Table::Mapping.update(&database, &error, "1 = 1");
    fs::remove_file(path).unwrap();
    wait(&warden, 1, "error finished - run1").await;
    eventually(SOON, || async {
        let found = found(&warden).await;
        if found.contains("1 error_there_only") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_loop_of_another_user_who_may_not_signal_the_job() {
    if !rustix::process::geteuid().is_root() || engine::is(Engine::Sqlite) {
        println!(
            "nothing to show: another user needs root, and a database that is no file of ours"
        );
        return;
    }
    let database = Engine::current().fresh();
    Table::Mapping.create(&database);
    let row = json!({"brz_project_id": 1, "mb_project_uuid": job::uuid(1),
                     "changes_json": {"status": "in_progress"}});
    Table::Mapping.insert(&database, &row);
    let warden = Warden::start_on(&database, shadow()).await;
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).started_ago(900).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    job::backdate(&path, OLD);
    for dir in [warden.dir().to_owned(), warden.lock_dir()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let _monitor = OldMonitor::start_as_nobody(&warden.lock_dir(), 600, &database);
    eventually(SOON, || async {
        let found = found(&warden).await;
        if found.contains("1 error_there_only") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert!(!path.exists(), "the loop removed it");
    assert!(crate::support::kernel::state(job.pid()).is_some(), "and the job lives");
}
