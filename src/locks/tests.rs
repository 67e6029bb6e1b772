//! The directory, with real files.

mod hostile;
mod incremental;
mod part;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;
use crate::domain::migration::LockPid;
use crate::domain::time::Timestamp;

const UUID: &str = "3c56530e-ca31-4a7c-964f-e69be01f382a";
const INSTANCE: &str = "test";

fn key(id: i64) -> Key {
    Key { mb_project_uuid: UUID.to_owned(), brz_project_id: id }
}

fn name(id: i64) -> String {
    format!("{UUID}-{id}.lock")
}

fn json(id: i64, pid: i64) -> String {
    format!("{{\"mb_project_uuid\":\"{UUID}\",\"brz_project_id\":{id},\"pid\":{pid}}}")
}

/// An empty directory of its own.
struct Dir {
    temp: TempDir,
    locks: LockDir,
}

impl Dir {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let locks = LockDir::new(temp.path().to_owned());
        Self { temp, locks }
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path().join(name)).ok()
    }

    fn scan(&self) -> Scan {
        self.locks.scan().unwrap()
    }

    fn found(&self, id: i64) -> Arc<FoundLock> {
        found(&self.locks, id)
    }

    fn asides(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names
            .filter_map(|name| name.into_string().ok())
            .filter(|it| it.starts_with(ASIDE))
            .collect()
    }
}

fn told(scan: &Scan) -> Vec<(&str, &str)> {
    scan.unreadable.iter().map(|it| (it.file.as_str(), it.reason)).collect()
}

/// Runs on a thread of its own without root's rights over files; as it is, if we have none.
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let work = || {
            if geteuid().is_root() {
                // Only this thread changes, and it ends here. 65534 is nobody.
                let nobody = rustix::process::Uid::from_raw(65_534);
                rustix::thread::set_thread_uid(nobody).unwrap();
            }
            work()
        };
        scope.spawn(work).join().unwrap()
    })
}

fn found(locks: &LockDir, id: i64) -> Arc<FoundLock> {
    let mut part = locks.look(&BTreeSet::from([key(id)]), &BTreeSet::new()).unwrap();
    match part.keys.remove(&key(id)).unwrap() {
        KeySight::Found(found) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_locks_that_real_runners_leave() {
    let dir = Dir::new();
    for entry in fs::read_dir("tests/fixtures/locks").unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let scan = dir.scan();
    let mut seen: Vec<_> = scan
        .locks
        .iter()
        .map(|it| {
            (
                it.key.brz_project_id,
                it.lock.pid,
                it.lock.started,
                it.data().map_or(0, |data| data.len()),
            )
        })
        .collect();
    seen.sort_by_key(|it| it.0);
    let at = |secs| Some(Timestamp::from_secs(secs));
    let expected = [
        (23_131_991, LockPid::Number(48_213), at(1_736_937_045), 7),
        (23_131_992, LockPid::Number(48_377), at(1_736_937_062), 13),
        (23_131_993, LockPid::Number(48_401), at(1_736_937_090), 7),
        (23_131_994, LockPid::Number(48_555), at(1_736_936_400), 7),
        (23_131_995, LockPid::Missing, None, 3),
        (23_131_996, LockPid::Missing, None, 0),
        (23_131_997, LockPid::Missing, None, 0),
        (23_131_998, LockPid::Missing, None, 0),
    ];
    assert_eq!(seen, expected);
    for found in &*scan.locks {
        assert_eq!(*found.lock.file, *format!("{}.lock", found.key));
    }
    assert_eq!(
        told(&scan),
        [
            ("5d9e2f10-0f9a-4f3c-b1de-2a6b7c8d9e04-23131996.lock", "not_json"),
            ("9f8e7d6c-5b4a-4392-8170-6f5e4d3c2b05-23131997.lock", "not_json"),
            ("e0e1e2e3-e4e5-4e6e-a7e8-e9eaebecedee-23131998.lock", "empty"),
        ]
    );
    assert_eq!((scan.blocked.len(), scan.foreign), (0, 0));
    assert!(scan.local_fs);
    let stage =
        &scan.locks.iter().find(|it| it.key.brz_project_id == 23_131_992).unwrap().data().unwrap();
    assert_eq!(stage["current_stage"], "Миграция страниц");
}

#[test]
fn worse_than_real_runners() {
    let dir = Dir::new();
    dir.write(&name(1), json(1, 7));
    dir.write(&name(2), vec![b' '; 64 * 1024 + 1]);
    dir.write(&name(3), b"{\"a\":\"\xff\"}");
    dir.write(&name(4), json(4, -7));
    dir.write(&name(5), json(5, i64::MAX));
    symlink("/etc/passwd", dir.path().join(name(6))).unwrap();
    symlink(name(1), dir.path().join(name(7))).unwrap();
    mknodat(CWD, dir.path().join(name(8)), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(dir.path().join(name(9))).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join(name(10))).unwrap();
    dir.write("composer.lock", "{\"packages\":[]}");
    dir.write("yarn.lock", vec![b'x'; 100_000]);
    dir.write("\n.lock", "");
    symlink("nowhere", dir.path().join("link.lock")).unwrap();
    dir.write(&format!("{}.json", name(11)), json(11, 7));
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xffjob\x1b.lock")), json(12, 7))
        .unwrap();
    let scan = dir.scan();
    let judged: Vec<_> = scan.locks.iter().map(|it| (it.key.brz_project_id, it.lock.pid)).collect();
    let missing = [2, 3, 4, 5].map(|id| (id, LockPid::Missing));
    assert_eq!(judged, [&[(1, LockPid::Number(7))][..], &missing].concat());
    assert_eq!(scan.blocked, (6..=10).map(key).collect());
    assert_eq!(scan.foreign, 4);
    let names: Vec<String> = (1..=10).map(name).collect();
    assert_eq!(
        told(&scan),
        [
            (names[9].as_str(), "not_a_file"),
            (&names[1], "too_large"),
            (&names[2], "not_utf8"),
            (&names[3], "bad_pid"),
            (&names[4], "bad_pid"),
            (&names[5], "not_a_file"),
            (&names[6], "not_a_file"),
            (&names[7], "not_a_file"),
            (&names[8], "not_a_file"),
            ("\u{fffd}job\\u{1b}.lock", "not_utf8"),
        ]
    );
    assert_eq!(scan.sight(&key(6)), LockSight::Blocked);
    assert_eq!(scan.sight(&key(99)), LockSight::Absent);
    assert!(matches!(scan.sight(&key(2)), LockSight::Present(_)));
}

#[test]
fn a_file_without_permission() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for file in [&name(1), "composer.lock"] {
        dir.write(file, json(1, 7));
        fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let scan = unprivileged(|| dir.scan());
    assert_eq!(told(&scan), [(name(1).as_str(), "permission")]);
    assert_eq!((scan.blocked, scan.foreign), (HashSet::from([key(1)]), 1));
}

#[test]
fn a_directory_that_is_missing_or_none() {
    let dir = Dir::new();
    let missing = LockDir::new(dir.path().join("missing"));
    assert!(missing.scan().unwrap_err().is_missing());
    assert!(missing.missing().is_some());
    dir.write("file", "");
    let file = LockDir::new(dir.path().join("file"));
    assert!(!file.scan().unwrap_err().is_missing());
    assert!(file.missing().is_none());
    assert!(file.put_back(INSTANCE, |_, _, _| None).is_err());
}

#[test]
fn why_it_is_missing_is_found_out_once_until_it_appears() {
    let dir = Dir::new();
    let path = dir.path().join("missing");
    let locks = LockDir::new(path.clone()).within(Some("the test says so"));
    let looked = |locks: &LockDir| locks.missing.lock().unwrap().looked;
    assert!(!looked(&locks));
    let said = locks.scan().unwrap_err().to_string();
    assert!(said.contains("does not exist; this is a container (the test says so)"), "{said}");
    // What was found out stands, whatever would be found out now.
    locks.missing.lock().unwrap().cause = Some("as before".to_owned());
    assert!(locks.clone().scan().unwrap_err().to_string().ends_with("does not exist; as before"));
    std::fs::create_dir(&path).unwrap();
    locks.scan().unwrap();
    assert!(!looked(&locks));
}

#[test]
fn a_job_with_another_name_keeps_its_key_while_it_is_rewritten() {
    let dir = Dir::new();
    dir.write("job.lock", json(1, 7));
    assert_eq!(dir.found(1).lock.pid, LockPid::Number(7));
    dir.write("job.lock", "");
    assert_eq!(dir.found(1).lock.pid, LockPid::Missing);
    dir.write("job.lock", json(1, 8));
    assert_eq!(dir.found(1).lock.pid, LockPid::Number(8));
    fs::remove_file(dir.path().join("job.lock")).unwrap();
    assert_eq!(dir.scan().sight(&key(1)), LockSight::Absent);
    dir.write("job.lock", "");
    assert_eq!(dir.scan().foreign, 1, "whose it was is forgotten with the file");
}

#[test]
fn a_lock_is_removed() {
    let dir = Dir::new();
    for content in [json(1, 7), String::new(), "x".repeat(100_000)] {
        dir.write(&name(1), content);
        let found = dir.found(1);
        assert!(matches!(dir.locks.remove(&found, 1, INSTANCE), Ok(Removal::Removed)));
        assert_eq!((dir.read(&name(1)), dir.asides()), (None, vec![]));
        assert!(matches!(dir.locks.remove(&found, 1, INSTANCE), Ok(Removal::Vanished)));
    }
}

/// What somebody does to the lock of key 1.
type Change = fn(&Dir);

#[test]
fn a_lock_that_changed_since_it_was_judged_stays() {
    let dir = Dir::new();
    let changes: [(&str, Change); 4] = [
        ("rewritten", |dir| dir.write(&name(1), json(1, 8))),
        ("replaced", |dir| {
            dir.write("new", json(1, 7));
            fs::rename(dir.path().join("new"), dir.path().join(name(1))).unwrap();
        }),
        ("replaced by a link", |dir| {
            fs::remove_file(dir.path().join(name(1))).unwrap();
            symlink("target", dir.path().join(name(1))).unwrap();
        }),
        ("replaced by a directory", |dir| {
            fs::remove_file(dir.path().join(name(1))).unwrap();
            fs::create_dir(dir.path().join(name(1))).unwrap();
        }),
    ];
    dir.write("target", json(1, 7));
    for (what, change) in changes {
        // Before the removal begins, and after it has looked for the last time before the rename.
        for place in ["", "lock-before-rename"] {
            let path = dir.path().join(name(1));
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            dir.write(&name(1), json(1, 7));
            let found = dir.found(1);
            if place.is_empty() {
                change(&dir);
            }
            let pass = |at: &str| {
                if at == place {
                    change(&dir);
                }
            };
            let removal = dir.locks.remove_passing(&found, 1, INSTANCE, pass).unwrap();
            assert!(matches!(removal, Removal::Changed), "{what} {place}: {removal:?}");
            assert!(path.symlink_metadata().is_ok(), "{what} {place}");
            assert_eq!(dir.asides(), Vec::<String>::new(), "{what} {place}");
        }
    }
    assert_eq!(dir.read("target"), Some(json(1, 7)));
}

#[test]
fn a_writer_that_holds_the_lock_open_keeps_it() {
    for place in ["lock-before-rename", "lock-renamed", "lock-compared"] {
        let dir = Dir::new();
        dir.write(&name(1), json(1, 7));
        let found = dir.found(1);
        let mut writer =
            fs::OpenOptions::new().append(true).open(dir.path().join(name(1))).unwrap();
        let mut places = Vec::new();
        let seen = std::cell::RefCell::new(&mut places);
        let removal = dir.locks.remove_passing(&found, 1, INSTANCE, |at| {
            seen.borrow_mut().push(at.to_owned());
            if at == place {
                (&writer).write_all(b"\n").unwrap();
            }
        });
        assert!(matches!(removal, Ok(Removal::Changed)), "{place}: {removal:?}");
        assert_eq!(places, ["lock-before-rename", "lock-renamed", "lock-compared"]);
        writer.write_all(b"\n").unwrap();
        assert_eq!(dir.read(&name(1)), Some(json(1, 7) + "\n\n"), "it is the same file");
        assert_eq!(dir.asides(), Vec::<String>::new());
    }
}

#[test]
fn a_newer_lock_wins() {
    let dir = Dir::new();
    let newer = json(1, 8);
    for place in ["lock-renamed", "lock-compared"] {
        for late_write in [false, true] {
            dir.write(&name(1), json(1, 7));
            let found = dir.found(1);
            let old = fs::OpenOptions::new().append(true).open(dir.path().join(name(1))).unwrap();
            let removal = dir.locks.remove_passing(&found, 1, INSTANCE, |at| {
                if at == place {
                    dir.write(&name(1), &newer);
                    if late_write {
                        (&old).write_all(b" ").unwrap();
                    }
                }
            });
            let expected = if late_write { "NewerWins" } else { "Removed" };
            assert_eq!(format!("{:?}", removal.unwrap()), expected, "{place}");
            assert_eq!(dir.read(&name(1)).as_ref(), Some(&newer));
            assert_eq!(dir.asides(), Vec::<String>::new());
        }
    }
}

#[test]
fn another_directory_under_the_path_is_left_alone() {
    let dir = Dir::new();
    let path = dir.path().join("locks");
    fs::create_dir(&path).unwrap();
    let locks = LockDir::new(path.clone());
    fs::write(path.join(name(1)), json(1, 7)).unwrap();
    let found = found(&locks, 1);
    fs::rename(&path, dir.path().join("away")).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join(name(1)), json(1, 7)).unwrap();
    assert!(matches!(locks.remove(&found, 1, INSTANCE), Err(RemoveError::OtherDirectory { .. })));
    assert!(path.join(name(1)).exists());
    fs::remove_dir_all(&path).unwrap();
    assert!(matches!(locks.remove(&found, 1, INSTANCE), Err(RemoveError::Directory(_))));
}

#[test]
fn a_directory_that_may_not_be_written() {
    let dir = Dir::new();
    dir.write(&name(1), json(1, 7));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let found = dir.found(1);
    let removal = unprivileged(|| dir.locks.remove(&found, 1, INSTANCE));
    let again = dir.read(&name(1));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(removal, Ok(Removal::Denied(_))), "{removal:?}");
    assert_eq!(again, Some(json(1, 7)));
}

#[test]
fn what_was_left_aside_is_put_back() {
    let dir = Dir::new();
    let prefix = aside_prefix(INSTANCE);
    let aside = |run: i64| format!("{prefix}{run}.99");
    dir.write(&aside(1), json(1, 7));
    dir.write(&aside(2), "half");
    dir.write(&aside(3), json(3, 7));
    dir.write(&name(3), json(3, 8));
    dir.write(&aside(4), "nobody's");
    dir.write(&aside(5), json(5, 7).replace(UUID, "../out"));
    symlink(name(3), dir.path().join(aside(6))).unwrap();
    let others = format!("{}1.99", aside_prefix("another"));
    dir.write(&others, json(7, 7));
    let name_of = |run: i64, inode: u64, key: Option<&Key>| {
        (run == 2 && inode == 99 && key.is_none()).then(|| name(2))
    };
    let back = dir.locks.put_back(INSTANCE, name_of).unwrap();
    let seen: Vec<_> = back.iter().map(|it| format!("{:?}", it.outcome)).collect();
    assert_eq!(seen, ["Restored", "Restored", "NewerWins", "Nameless", "Nameless", "Nameless"]);
    assert_eq!(dir.read(&name(1)), Some(json(1, 7)));
    assert_eq!(dir.read(&name(2)).as_deref(), Some("half"));
    assert_eq!(dir.read(&name(3)), Some(json(3, 8)), "the newer one");
    let mut left = dir.asides();
    left.sort();
    let mut expected = vec![aside(4), aside(5), aside(6), others];
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_stop_at_any_place_is_finished_by_the_next_start() {
    for stop in ["lock-before-rename", "lock-renamed", "lock-compared"] {
        let dir = Dir::new();
        dir.write(&name(1), json(1, 7));
        let found = dir.found(1);
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = dir.locks.remove_passing(&found, 1, INSTANCE, |at| {
                if at == stop {
                    std::panic::resume_unwind(Box::new(()));
                }
            });
        }));
        assert!(stopped.is_err());
        dir.locks.put_back(INSTANCE, |_, _, _| None).unwrap();
        let again = dir.found(1);
        assert_eq!(again, found, "the same file, judged the same");
        assert!(matches!(dir.locks.remove(&again, 1, INSTANCE), Ok(Removal::Removed)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
