//! Others write into the directory as well, and mean harm: whatever they do, nothing outside of it is read, moved or removed.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{RenameFlags, renameat_with};

use super::*;

/// As often as a race is tried at least; each side goes on as fast as it can.
const ROUNDS: usize = 2_000;

/// On one busy core the two take turns of milliseconds: all rounds may be over before the other side was ever seen as it has to be.
const IN_VAIN: Duration = Duration::from_secs(60);

/// Ends the other side, also where ours fails: the scope would wait for it for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets `other` run again and again beside `ours`, on a thread of its own, until `ours` has seen what it has to.
fn beside(other: impl Fn(usize) + Sync, mut ours: impl FnMut(usize) -> bool) {
    let over = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                other(round);
                round += 1;
            }
        });
        let _over = Over(&over);
        let mut round = 0;
        while !ours(round) || round < ROUNDS {
            assert!(began.elapsed() < IN_VAIN, "not seen in {round} rounds");
            round += 1;
        }
    });
}

/// Everything below a directory, with what it is and has in it.
fn tree(path: &Path) -> Vec<(String, u64, Option<String>)> {
    let mut all: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).ok();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino(), text)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_lock_that_turns_into_a_link_leads_nowhere() {
    let (dir, outside) = (Dir::new(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join(name(1)), json(1, 7)).unwrap();
    fs::write(outside.path().join("secret"), json(1, 7)).unwrap();
    let before = tree(outside.path());
    let own = |file: &str| dir.path().join(file);
    let attack = |round: usize| {
        let target = outside.path().join(if round.is_multiple_of(2) {
            "secret".to_owned()
        } else {
            name(1)
        });
        let _ = fs::remove_file(own("next"));
        if round.is_multiple_of(3) {
            fs::write(own("next"), json(1, 7)).unwrap();
        } else {
            symlink(target, own("next")).unwrap();
        }
        let _ = fs::rename(own("next"), own(&name(1)));
    };
    let mut removed = 0;
    beside(attack, |round| {
        // As a runner leaves one; the attack waits for the disk with a link in its place for most of the time.
        if round.is_multiple_of(2) {
            fs::write(own("written"), json(1, 7)).unwrap();
            fs::rename(own("written"), own(&name(1))).unwrap();
        }
        let scan = dir.locks.scan().unwrap();
        for found in &*scan.locks {
            let removal = dir.locks.remove(found, 1, INSTANCE);
            removed += usize::from(matches!(removal, Ok(Removal::Removed)));
        }
        removed > 0
    });
    assert_eq!(tree(outside.path()), before);
}

#[test]
fn a_directory_that_turns_into_a_link_of_somebody_else_is_not_entered() {
    if !geteuid().is_root() {
        return; // Nobody else can be had.
    }
    let (base, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (place, real, link) =
        (base.path().join("locks"), base.path().join("real"), base.path().join("link"));
    fs::create_dir(&place).unwrap();
    for id in 0..50 {
        fs::write(outside.path().join(name(id)), json(id, 7)).unwrap();
    }
    symlink(outside.path(), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(65_534), Some(65_534)).unwrap();
    let before = tree(outside.path());
    let locks = LockDir::new(place.clone());
    let swap = |_| {
        let _ = renameat_with(CWD, &link, CWD, &place, RenameFlags::EXCHANGE);
    };
    let (mut entered, mut refused) = (0, 0);
    beside(swap, |round| {
        match locks.scan() {
            Ok(scan) => {
                assert_eq!(scan.locks.len(), 0, "those of the other directory are not seen");
                entered += 1;
            }
            Err(_) => refused += 1,
        }
        if round % 10 == 0 {
            let _ = locks.put_back(INSTANCE, |_, _, _| None);
        }
        entered > 0 && refused > 0
    });
    assert_eq!(tree(outside.path()), before);
    assert!(!real.exists());
}

#[test]
fn a_link_is_followed_whose_owner_may_decide_that() {
    let (base, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join(name(1)), json(1, 7)).unwrap();
    let link = base.path().join("locks");
    symlink(outside.path(), &link).unwrap();
    let locks = LockDir::new(link.clone());
    assert_eq!(locks.scan().unwrap().locks.len(), 1, "our own, as a release has them");
    if geteuid().is_root() {
        std::os::unix::fs::lchown(&link, Some(65_534), Some(65_534)).unwrap();
        for path in [link.clone(), link.join(""), link.join(".")] {
            let error = LockDir::new(path).scan().unwrap_err();
            assert!(matches!(error, ScanError::Open { .. }), "{error}");
        }
        chown(outside.path(), Some(65_534), Some(65_534)).unwrap();
        assert_eq!(locks.scan().unwrap().locks.len(), 1, "it leads to what is its owner's");
    }
}

#[test]
fn what_looks_like_ours_aside_leads_nowhere() {
    let (dir, outside) = (Dir::new(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("victim"), json(1, 7)).unwrap();
    let before = tree(outside.path());
    let prefix = aside_prefix(INSTANCE);
    let aside = |rest: &str| dir.path().join(format!("{prefix}{rest}"));
    symlink(outside.path().join("victim"), aside("1.1")).unwrap();
    symlink(outside.path(), aside("1.2")).unwrap();
    fs::create_dir(aside("1.3")).unwrap();
    mknodat(CWD, aside("1.4"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let leads_out = r#"{"mb_project_uuid":"../../etc/x","brz_project_id":5,"pid":1}"#;
    fs::write(aside("1.5"), leads_out).unwrap();
    fs::write(aside("1.6"), json(6, 7)).unwrap();
    let names = |_: i64, inode: u64, _: Option<&Key>| match inode {
        1 => Some("../victim".to_owned()),
        6 => Some("/etc/passwd".to_owned()),
        _ => None,
    };
    let done = dir.locks.put_back(INSTANCE, names).unwrap();
    let nameless = done.iter().filter(|it| matches!(it.outcome, PutBackOutcome::Nameless)).count();
    assert_eq!((done.len(), nameless), (6, 6), "{done:?}");
    assert_eq!(dir.asides().len(), 6, "they are left where they are");
    assert_eq!(tree(outside.path()), before);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_within_bounds() {
    let dir = Dir::new();
    dir.write(&name(1), json(1, 7));
    let grow = |_: usize| {
        // Aside or removed by now.
        let path = dir.path().join(name(1));
        let Ok(mut file) = fs::OpenOptions::new().append(true).open(path) else { return };
        // Up to a megabyte, then from the beginning again.
        if file.metadata().unwrap().len() > 1 << 20 {
            file.set_len(0).unwrap();
            file.write_all(json(1, 7).as_bytes()).unwrap();
        }
        file.write_all(&[b' '; 8192]).unwrap();
    };
    beside(grow, |_| {
        let scan = dir.locks.scan().unwrap();
        for found in &*scan.locks {
            assert!(found.content.len() <= file::LIMIT);
            // Judged by what it was: it has grown since.
            let removal = dir.locks.remove(found, 1, INSTANCE).unwrap();
            assert!(!matches!(removal, Removal::Denied(_)), "{removal:?}");
            if matches!(removal, Removal::Removed) {
                dir.write(&name(1), json(1, 7));
            }
        }
        true
    });
    assert_eq!(dir.asides(), Vec::<String>::new());
}

#[test]
fn the_longest_name_is_one() {
    let dir = Dir::new();
    let longest = format!("{}.lock", "n".repeat(250));
    dir.write(&longest, json(1, 7));
    dir.write(&"x".repeat(255), json(2, 7));
    let scan = dir.scan();
    assert_eq!(scan.locks.len(), 1);
    assert_eq!(*scan.locks[0].lock.file, *longest);
    let removal = dir.locks.remove(&scan.locks[0], i64::MAX, INSTANCE).unwrap();
    assert!(matches!(removal, Removal::Removed), "{removal:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_device_is_not_opened() {
    if !geteuid().is_root() {
        return; // Nobody else can make one.
    }
    let dir = Dir::new();
    // /dev/zero, and one that no driver has: an open of it would fail otherwise.
    for (id, (major, minor)) in [(1, (1, 5)), (2, (240, 77))] {
        let device = rustix::fs::makedev(major, minor);
        let path = dir.path().join(name(id));
        // A container may have taken this from its root.
        if mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, device).is_err() {
            return;
        }
    }
    let scan = dir.scan();
    assert_eq!(told(&scan), [(&*name(1), "not_a_file"), (&*name(2), "not_a_file")]);
    let part = dir.locks.look(&BTreeSet::from([key(1), key(2)]), &BTreeSet::new()).unwrap();
    assert!(part.keys.values().all(|sight| *sight == KeySight::Blocked), "{part:?}");
}

/// A hard link is the file itself: it is read as any other, and only this name of it can go.
#[test]
fn a_hard_link_to_a_secret_tells_and_costs_nothing() {
    let (dir, outside) = (Dir::new(), tempfile::tempdir_in(std::env::temp_dir()).unwrap());
    let secret = outside.path().join("shadow");
    fs::write(&secret, "root:$6$hash:19000:0:99999:7:::\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&secret, dir.path().join(name(1))).unwrap();
    fs::hard_link(&secret, dir.path().join("etc.lock")).unwrap();
    let scan = dir.scan();
    let all = format!("{:?} {:?}", scan.unreadable, scan.blocked);
    assert!(!all.contains("$6$hash"), "{all}");
    for found in &*scan.locks {
        assert!(found.data().is_none(), "what is no JSON is not shown");
        let _ = dir.locks.remove(found, 1, INSTANCE).unwrap();
    }
    let text = fs::read_to_string(&secret).unwrap();
    assert!(text.contains("$6$hash") && fs::metadata(&secret).unwrap().nlink() >= 2);
}

/// `fs.protected_hardlinks`: nobody else's file can be linked; that is only needed where `renameat2` knows no flag.
#[test]
fn a_file_of_another_user_is_put_back_or_left_and_never_lost() {
    if !geteuid().is_root() {
        return; // Nobody else can be had.
    }
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir.write(&name(1), json(1, 7));
    let found = dir.found(1);
    // Root's file, handled by nobody.
    let path = dir.path().join(name(1));
    let removal = unprivileged(|| dir.locks.remove(&found, 1, INSTANCE));
    // Who may write the directory may remove what is in it, whose ever it is.
    assert!(matches!(removal, Ok(Removal::Removed)), "{removal:?}");
    fs::write(&path, json(1, 8)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let found = dir.found(1);
    let removal = unprivileged(|| dir.locks.remove(&found, 1, INSTANCE));
    assert!(matches!(removal, Ok(Removal::Denied(_))), "sticky: {removal:?}");
    assert_eq!(dir.read(&name(1)), Some(json(1, 8)));
    assert_eq!(dir.asides(), Vec::<String>::new());
}

/// Somebody fills the directory with locks as large as may be: those of the size of real ones are judged all the same.
#[test]
fn contents_are_held_within_bounds() {
    let dir = Dir::new();
    let padding = "x".repeat(60 * 1024);
    let large = |id: i64| json(id, 7).replace('}', &format!(",\"padding\":\"{padding}\"}}"));
    dir.scan();
    dir.locks.model().pretend_to_hold_all();
    dir.write(&name(1), large(1));
    dir.write(&name(2), json(2, 7));
    let scan = dir.scan();
    assert_eq!(told(&scan), [(&*name(1), "too_large")]);
    let sizes: Vec<_> = scan.locks.iter().map(|found| found.content.len()).collect();
    assert_eq!(sizes, [0, json(2, 7).len()], "by its name alone it is known whose it is");
    let removal = dir.locks.remove(&scan.locks[0], 1, INSTANCE).unwrap();
    assert!(matches!(removal, Removal::Changed), "what was not read is not removed: {removal:?}");
    dir.locks.model().pretend_to_hold_nothing();
    let scan = dir.scan();
    assert!(told(&scan).is_empty(), "there is room again");
    assert_eq!(scan.locks[0].content.len(), large(1).len());
}

#[test]
fn what_is_held_is_counted() {
    let dir = Dir::new();
    for id in 1..=20 {
        dir.write(&name(id), json(id, 7));
    }
    dir.write("composer.lock", "{}");
    dir.scan();
    let size = |ids: std::ops::RangeInclusive<i64>| ids.map(|id| json(id, 7).len()).sum::<usize>();
    assert_eq!(dir.locks.model().held_bytes(), size(1..=20));
    for id in 1..=10 {
        fs::remove_file(dir.path().join(name(id))).unwrap();
    }
    dir.write(&name(11), "");
    dir.scan();
    assert_eq!(dir.locks.model().held_bytes(), size(12..=20));
}
