//! Real directories and the kernel's own events.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use super::*;

/// What is told next; a kernel that tells nothing fails the test and does not hang it.
async fn next(watch: &mut DirWatch) -> Change {
    tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap()
}

fn names(names: &[&str]) -> Change {
    Change::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

fn watched() -> (tempfile::TempDir, DirWatch) {
    let dir = tempfile::tempdir().unwrap();
    let watch = LockDir::new(dir.path().to_owned()).watch().unwrap();
    (dir, watch)
}

#[tokio::test]
async fn each_kind_of_change_is_told() {
    let (dir, mut watch) = watched();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.lock"), "{}").unwrap();
    assert_eq!(next(&mut watch).await, names(&["a.lock"]));
    fs::write(path("a.lock"), "{ }").unwrap();
    assert_eq!(next(&mut watch).await, names(&["a.lock"]), "rewritten in place");
    fs::rename(path("a.lock"), path("b.lock")).unwrap();
    assert_eq!(next(&mut watch).await, names(&["a.lock", "b.lock"]));
    fs::rename(path("b.lock"), path("b.tmp")).unwrap();
    assert_eq!(next(&mut watch).await, names(&["b.lock"]), "moved away");
    fs::rename(path("b.tmp"), path("c.lock")).unwrap();
    assert_eq!(next(&mut watch).await, names(&["c.lock"]), "moved in");
    fs::set_permissions(path("c.lock"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(next(&mut watch).await, names(&["c.lock"]), "its rights");
    fs::remove_file(path("c.lock")).unwrap();
    assert_eq!(next(&mut watch).await, names(&["c.lock"]), "removed");
    symlink("x", path("d.lock")).unwrap();
    assert_eq!(next(&mut watch).await, names(&["d.lock"]), "a link");
}

#[tokio::test]
async fn only_locks_are_told_of_and_all_at_once() {
    let (dir, mut watch) = watched();
    for name in ["x.json", ".procwarden.0123.1.9", ".procwarden.x.lock", "lock"] {
        fs::write(dir.path().join(name), "{}").unwrap();
    }
    let some: Vec<String> = (0..500).map(|nth| format!("{nth}.lock")).collect();
    for name in &some {
        fs::write(dir.path().join(name), "{}").unwrap();
    }
    assert_eq!(next(&mut watch).await, Change::Names(some.into_iter().collect()));
    let mark = LockDir::new(dir.path().to_owned()).scan().unwrap().dir;
    assert_eq!(watch.dir(), mark);
}

#[tokio::test]
async fn a_queue_that_overflows_is_told() {
    let (dir, mut watch) = watched();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    fs::write(dir.path().join("a.lock"), "").unwrap();
    fs::write(dir.path().join("b.lock"), "").unwrap();
    // Equal events that follow each other are kept once, so two files take turns.
    for nth in 0..=limit {
        let name = if nth % 2 == 0 { "a.lock" } else { "b.lock" };
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(dir.path().join(name), mode).unwrap();
    }
    assert_eq!(next(&mut watch).await, Change::All("more changed than the kernel keeps"));
    fs::write(dir.path().join("c.lock"), "").unwrap();
    assert_eq!(next(&mut watch).await, names(&["c.lock"]), "it goes on");
}

#[tokio::test]
async fn a_directory_that_goes_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("locks");
    let watch = || {
        fs::create_dir(&path).unwrap();
        LockDir::new(path.clone()).watch().unwrap()
    };
    let mut removed = watch();
    fs::remove_dir(&path).unwrap();
    assert_eq!(next(&mut removed).await, Change::All("the lock directory was removed"));
    let mut moved = watch();
    fs::rename(&path, parent.path().join("away")).unwrap();
    assert_eq!(next(&mut moved).await, Change::All("the lock directory was moved"));
}

#[tokio::test]
async fn a_directory_that_is_none_is_not_watched() {
    let parent = tempfile::tempdir().unwrap();
    let missing = LockDir::new(parent.path().join("missing")).watch().unwrap_err();
    assert!(matches!(&missing, WatchError::Directory(error) if error.is_missing()), "{missing}");
    let other = LockDir::new(Path::new("/proc").to_owned()).watch();
    // What the kernel makes up on reading changes without a word, but it is local.
    assert!(other.is_ok());
}

#[test]
fn what_an_operator_reads() {
    assert_eq!(
        refused(Errno::NOSYS).to_string(),
        "no inotify: Function not implemented (os error 38)"
    );
    let watches = refused(Errno::NOSPC).to_string();
    assert!(
        watches.starts_with("out of inotify watches (fs.inotify.max_user_watches)"),
        "{watches}"
    );
    assert!(matches!(refused(Errno::NOMEM), WatchError::Other(_)));
}
