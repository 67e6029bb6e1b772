//! The likely cause of a lock directory that is not there: a path that belongs to another file system.
//!
//! A runner in a container and a monitor on its host, or the reverse, call one directory by two names. Where we may look
//! into the other file system (`/proc/PID/root`, `proc(5)`), we say who sees the path; else the path itself may tell.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Most other file systems that are looked into.
const WORLDS: usize = 64;

/// How long they are waited for: one of them may lie on a server that is gone.
const LIMIT: Duration = Duration::from_secs(2);

/// How paths begin that images use for their application, and hosts rarely have.
const INSIDE: [&str; 9] = [
    "/app",
    "/application",
    "/code",
    "/project",
    "/srv/app",
    "/usr/src",
    "/var/www",
    "/workspace",
    "/home",
];

/// A process that has the directory at this path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Witness {
    pid: i32,
    name: String,
}

/// Why `path` is not there, as far as it can be guessed; `container` is what shows that we run in one.
pub(super) fn likely_cause(path: &Path, container: Option<&str>) -> Option<String> {
    let owned = path.to_owned();
    let witness = within(LIMIT, move || witness(&owned)).flatten();
    explain(path, container, witness.as_ref())
}

fn explain(path: &Path, container: Option<&str>, witness: Option<&Witness>) -> Option<String> {
    let seen = witness
        .map(|it| format!("process {} ({}) sees it in a file system of its own", it.pid, it.name));
    match (seen, container) {
        (Some(seen), Some(mark)) => Some(format!(
            "{seen}, and this is a container ({mark}): mount the same directory into it"
        )),
        // Only the service manager could have taken the host's own directory from us.
        (Some(seen), None) if witness.is_some_and(|it| it.pid == 1) => Some(format!(
            "{seen}: this service is kept from it (ProtectHome, PrivateTmp, TemporaryFileSystem)"
        )),
        (Some(seen), None) => Some(format!(
            "{seen}: it is a path inside a container; give the path where that volume is mounted on this host"
        )),
        (None, Some(mark)) => Some(format!(
            "this is a container ({mark}): mount the host's directory into it at this path"
        )),
        (None, None) => looks_inside(path).then(|| {
            "if this is a path inside a container, give the path where that volume is mounted on \
             this host"
                .to_owned()
        }),
    }
}

/// A lock directory is often made by the first run, but what it stands in is there before.
fn looks_inside(path: &Path) -> bool {
    let usual = INSIDE.iter().any(|start| path.starts_with(start));
    usual && path.parent().is_some_and(|parent| !parent.exists())
}

/// The first process, by its number, of another mount namespace that has a directory at this path. Those that we may
/// not look into are passed over.
fn witness(path: &Path) -> Option<Witness> {
    if !path.is_absolute() {
        return None;
    }
    let mut asked = HashSet::from([fs::read_link("/proc/self/ns/mnt").ok()?]);
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let Ok(world) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else { continue };
        if asked.contains(&world) {
            continue;
        }
        let Some(sees) = sees(pid, path) else { continue };
        if sees {
            return Some(Witness { pid, name: name_of(pid) });
        }
        asked.insert(world);
        if asked.len() > WORLDS {
            break;
        }
    }
    None
}

/// Does this process have a directory at this path? `None` if it has ended or may not be asked.
fn sees(pid: i32, path: &Path) -> Option<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
    // Its symlinks count from its root, not from ours.
    Some(openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok())
}

/// What it calls itself; that may be anything.
fn name_of(pid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim().chars().filter(|char| !char.is_control()).collect()
}

/// What `work` brings within the limit; after that its thread is left to itself.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, outcome) = mpsc::channel();
    let work = move || {
        // Nobody may be waiting any more.
        let _ = done.send(work());
    };
    thread::Builder::new().name("missing-locks".to_owned()).spawn(work).ok()?;
    outcome.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, container: Option<&str>, witness: Option<(i32, &str)>) -> String {
        let witness = witness.map(|(pid, name)| Witness { pid, name: name.to_owned() });
        explain(Path::new(path), container, witness.as_ref()).unwrap_or_default()
    }

    #[test]
    fn who_sees_it_is_named_and_what_to_do_depends_on_where_we_are() {
        let fpm = Some((123, "php-fpm"));
        let host = told("/nowhere/var/cache", None, fpm);
        assert!(host.starts_with("process 123 (php-fpm) sees it"), "{host}");
        assert!(host.contains("inside a container; give the path"), "{host}");
        let inside = told("/nowhere/var/cache", Some("there is /.dockerenv"), fpm);
        assert!(inside.contains("process 123") && inside.contains("/.dockerenv"), "{inside}");
        assert!(inside.ends_with("mount the same directory into it"), "{inside}");
        let hidden = told("/home/nobody-has-this/cache", None, Some((1, "systemd")));
        assert!(hidden.contains("ProtectHome") && !hidden.contains("container"), "{hidden}");
    }

    #[test]
    fn without_a_witness_the_path_is_looked_at() {
        for path in ["/var/www/nowhere/var/cache", "/app/nowhere/cache", "/home/nowhere/p/cache"] {
            assert!(told(path, None, None).starts_with("if this is a path inside"), "{path}");
        }
        // Its parent is there: only the directory was not made yet.
        let dir = tempfile::tempdir().unwrap();
        let young = dir.path().join("cache");
        for path in ["/nowhere/var/cache", "/apple/nowhere/cache", young.to_str().unwrap()] {
            assert_eq!(told(path, None, None), "", "{path}");
        }
        let inside = told("/nowhere", Some("the variable container is set"), None);
        assert!(inside.contains("the variable container is set"), "{inside}");
        assert!(inside.contains("mount the host's directory"), "{inside}");
    }

    #[test]
    fn a_process_is_asked_for_its_own_root() {
        let dir = tempfile::tempdir().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(sees(own, dir.path()), Some(true));
        assert_eq!(sees(own, &dir.path().join("gone")), Some(false));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(sees(own, &file), Some(false), "no directory");
        assert_eq!(sees(i32::MAX, dir.path()), None);
        // Nobody of our own world is a witness against us.
        assert_eq!(witness(dir.path()).filter(|it| it.pid == own), None);
        assert_eq!(witness(Path::new("relative")), None);
    }

    #[test]
    fn what_hangs_is_not_waited_for() {
        let (release, held) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(10), move || held.recv().is_ok()), None);
        drop(release);
        assert_eq!(within(LIMIT, || 7), Some(7));
    }
}
