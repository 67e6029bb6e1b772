//! What did not change is not read again, and what did is.

use std::fs::File;
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use super::*;
use crate::locks::model::Looker;
use crate::locks::read::Names;

/// As if every file had been written long ago.
pub(super) fn old(dir: &Dir) {
    dir.locks.model().pretended = 10_000_000_000;
}

/// The names that are opened while `work` is done.
fn opened(dir: &Dir, work: impl FnOnce()) -> Vec<String> {
    let events = inotify::init(CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&events, dir.path(), WatchFlags::OPEN).unwrap();
    work();
    let mut room = [std::mem::MaybeUninit::uninit(); 16 * 1024];
    let mut reader = Reader::new(&events, &mut room);
    let mut names = Vec::new();
    while let Ok(event) = reader.next() {
        names.extend(event.file_name().and_then(|name| name.to_str().ok()).map(str::to_owned));
    }
    names
}

fn set_modified(dir: &Dir, name: &str, time: SystemTime) {
    File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(time).unwrap();
}

#[test]
fn only_what_changed_is_opened_again() {
    let dir = Dir::new();
    old(&dir);
    for id in 1..=5 {
        dir.write(&name(id), json(id, 7));
    }
    dir.write("composer.lock", "{}");
    fs::create_dir(dir.path().join(name(6))).unwrap();
    let first = opened(&dir, || assert_eq!(dir.scan().locks.len(), 5));
    assert_eq!(first.len(), 6, "{first:?}");
    dir.write(&name(2), json(2, 88));
    fs::remove_file(dir.path().join(name(3))).unwrap();
    let second = opened(&dir, || {
        let scan = dir.scan();
        let ids: Vec<_> = scan.locks.iter().map(|it| it.key.brz_project_id).collect();
        assert_eq!((ids, scan.foreign), (vec![1, 2, 4, 5], 1));
        assert_eq!(told(&scan), [(name(6).as_str(), "not_a_file")]);
    });
    assert_eq!(second, [name(2)]);
}

#[test]
fn a_young_file_is_read_again_until_its_times_tell_writes_apart() {
    let dir = Dir::new();
    dir.write(&name(1), json(1, 7));
    dir.scan();
    let again = opened(&dir, || assert_eq!(dir.found(1).lock.pid, LockPid::Number(7)));
    assert_eq!(again, [name(1)]);
    old(&dir);
    dir.scan();
    assert_eq!(opened(&dir, || drop(dir.scan())), Vec::<String>::new());
    // A time that is still to come settles nothing.
    set_modified(&dir, &name(1), SystemTime::now() + Duration::from_secs(3600));
    dir.scan();
    assert_eq!(opened(&dir, || drop(dir.scan())), [name(1)]);
}

#[test]
fn many_rewrites_within_a_tick_are_all_seen() {
    let dir = Dir::new();
    for round in 0..300 {
        let pid = 100 + round % 10;
        dir.write(&name(1), json(1, pid));
        assert_eq!(dir.scan().locks[0].lock.pid, LockPid::Number(pid), "{round}");
    }
}

#[test]
fn the_same_size_and_time_hide_no_change() {
    let dir = Dir::new();
    old(&dir);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let pid = |dir: &Dir| dir.scan().locks[0].lock.pid;
    dir.write(&name(1), json(1, 7));
    set_modified(&dir, &name(1), time);
    assert_eq!(pid(&dir), LockPid::Number(7));
    dir.write(&name(1), json(1, 8));
    set_modified(&dir, &name(1), time);
    assert_eq!(pid(&dir), LockPid::Number(8), "its ctime moved");
    dir.write("new", json(1, 9));
    set_modified(&dir, "new", time);
    fs::rename(dir.path().join("new"), dir.path().join(name(1))).unwrap();
    assert_eq!(pid(&dir), LockPid::Number(9), "it is another inode");
}

#[test]
fn what_is_rewritten_between_the_reading_and_the_keeping_is_seen_next() {
    let dir = Dir::new();
    old(&dir);
    dir.write(&name(1), json(1, 7));
    let scan = dir.locks.scan_passing(&|| dir.write(&name(1), json(1, 888))).unwrap();
    assert_eq!(scan.locks[0].lock.pid, LockPid::Number(7));
    assert_eq!(dir.scan().locks[0].lock.pid, LockPid::Number(888));
}

#[test]
fn a_look_during_a_scan_does_not_wait_for_it_and_goes_into_its_result() {
    let dir = Dir::new();
    old(&dir);
    for id in 1..=3 {
        dir.write(&name(id), json(id, 7));
    }
    dir.scan();
    dir.write(&name(3), json(3, 77));
    let scan = dir
        .locks
        .scan_passing(&|| {
            if dir.read(&name(1)).is_none() {
                return;
            }
            // The scan has seen all three; it has not kept what it read of the third.
            fs::remove_file(dir.path().join(name(1))).unwrap();
            dir.write(&name(2), json(2, 88));
            dir.write(&name(3), json(3, 999));
            dir.write(&name(4), json(4, 7));
            let keys = BTreeSet::from([2, 3, 4].map(key));
            let part = dir.locks.look(&keys, &BTreeSet::from([name(2), name(4)])).unwrap();
            assert_eq!(part.keys.len(), 3);
            assert_eq!(dir.found(3).lock.pid, LockPid::Number(999));
            let gone = name(1);
            let names = Names::of(std::iter::once(gone.as_str()));
            let place = dir.locks.place().unwrap();
            dir.locks.read(&place, &names, Looker::Part, &|| (), |_| ()).unwrap();
        })
        .unwrap();
    let seen: Vec<_> = scan.locks.iter().map(|it| (it.key.brz_project_id, it.lock.pid)).collect();
    let expected = [(2, 88), (3, 999), (4, 7)].map(|(id, pid)| (id, LockPid::Number(pid)));
    assert_eq!(seen, expected);
    assert_eq!(opened(&dir, || assert_eq!(dir.scan().locks.len(), 3)), Vec::<String>::new());
}

#[test]
fn another_directory_is_begun_anew() {
    let dir = Dir::new();
    let path = dir.path().join("locks");
    let locks = LockDir::new(path.clone());
    locks.model().pretended = 10_000_000_000;
    for round in 0..2 {
        fs::create_dir(&path).unwrap();
        fs::write(path.join("job.lock"), if round == 0 { json(1, 7) } else { String::new() })
            .unwrap();
        let scan = locks.scan().unwrap();
        assert_eq!((scan.locks.len(), scan.foreign), if round == 0 { (1, 0) } else { (0, 1) });
        fs::rename(&path, dir.path().join(format!("away-{round}"))).unwrap();
    }
}

#[test]
fn a_directory_that_is_replaced_while_it_is_scanned_tells_nothing() {
    let dir = Dir::new();
    let path = dir.path().join("locks");
    let locks = LockDir::new(path.clone());
    fs::create_dir(&path).unwrap();
    fs::write(path.join(name(1)), json(1, 7)).unwrap();
    let replace = || {
        fs::rename(&path, dir.path().join("away")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join(name(2)), json(2, 7)).unwrap();
        // What is held is of the new one from now on.
        locks.look(&BTreeSet::from([key(2)]), &BTreeSet::new()).unwrap();
    };
    assert!(matches!(locks.scan_passing(&replace), Err(ScanError::Read { .. })));
    assert_eq!(locks.scan().unwrap().locks[0].key, key(2));
}

#[test]
fn where_nothing_moved_the_same_is_given_again() {
    let dir = Dir::new();
    for id in 1..=3 {
        dir.write(&name(id), json(id, 7));
    }
    let same = |a: &Scan, b: &Scan| Arc::ptr_eq(&a.locks, &b.locks);
    let first = dir.scan();
    assert!(same(&first, &dir.scan()));
    dir.write("other.lock", "{}");
    let second = dir.scan();
    assert_eq!((same(&first, &second), second.foreign, second.locks.len()), (false, 1, 3));
    fs::remove_file(dir.path().join("other.lock")).unwrap();
    assert_eq!(dir.scan().foreign, 0);
    let third = dir.scan();
    // What a partial look finds is in what a scan tells next.
    dir.write(&name(2), json(2, 8));
    dir.locks.look(&BTreeSet::from([key(2)]), &BTreeSet::new()).unwrap();
    let fourth = dir.scan();
    assert!(!same(&third, &fourth));
    assert_eq!(found(&dir.locks, 2).lock.pid, LockPid::Number(8));
    assert!(same(&fourth, &dir.scan()));
    fs::remove_file(dir.path().join(name(3))).unwrap();
    assert_eq!(dir.scan().locks.len(), 2);
}
