//! Locks that appear, change and go: inotify, and what becomes of it where it is refused or overflows.

use std::fs;

use rustix::process::Signal;

use super::listener::Listener;
use super::told;
use crate::migrations::{SOON, events, wait};
use crate::support::job::Lock;
use crate::support::kernel::{self, Refused};
use crate::support::program::Program;
use crate::support::{Warden, eventually};

/// Waits until the kernel tells of the lock directory, which is after the first look.
async fn told_of_locks(warden: &Warden) {
    eventually(SOON, || async {
        let log = warden.log();
        if log.contains("source=Locks watch=On") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_seen_as_it_comes_changes_and_goes() {
    let warden = Warden::start(told()).await;
    told_of_locks(&warden).await;
    let job = Program::sleeper(warden.dir());
    let lock = Lock::new(1, job.pid());
    let mut listener = Listener::of(&warden, "/events").await;
    let path = lock.write_in_place(&warden.lock_dir());
    let event = listener.event().await;
    assert_eq!((&event.data["state"], &event.data["kind"]), (&"alive".into(), &"observed".into()));
    wait(&warden, 1, "in_progress alive - run1").await;
    for (pages, rewrite) in [(7, true), (8, false)] {
        let lock = lock.clone().set("processed_pages", pages);
        let _ =
            if rewrite { lock.write(&warden.lock_dir()) } else { lock.replace(&warden.lock_dir()) };
        warden
            .until("/migrations", SOON, |it| {
                (it.json["data"][0]["processed_pages"] == pages).then_some(())
            })
            .await;
    }
    fs::remove_file(path).unwrap();
    wait(&warden, 1, "completed finished - run1").await;
    assert_eq!(listener.flip().await.data["state"], "finished");
    assert_eq!(events(&warden, 1), ["1:completed"]);
}

#[tokio::test]
async fn another_directory_under_the_path_is_watched_in_its_turn() {
    let warden = Warden::start(told()).await;
    told_of_locks(&warden).await;
    let job = Program::sleeper(warden.dir());
    // Made aside and moved into place, so that there is always one.
    let (next, before) = (warden.dir().join("next"), warden.dir().join("before"));
    fs::create_dir(&next).unwrap();
    Lock::new(1, job.pid()).write(&next);
    fs::rename(warden.lock_dir(), before).unwrap();
    fs::rename(next, warden.lock_dir()).unwrap();
    wait(&warden, 1, "in_progress alive - run1").await;
    Lock::new(2, job.pid()).write(&warden.lock_dir());
    wait(&warden, 2, "in_progress alive - run1").await;
}

/// Sets the length of the queues that are made while it lives.
struct QueueLength(String);

const QUEUED: &str = "/proc/sys/fs/inotify/max_queued_events";

impl QueueLength {
    fn set(length: u32) -> Option<Self> {
        let before = fs::read_to_string(QUEUED).ok()?;
        fs::write(QUEUED, length.to_string()).ok()?;
        Some(Self(before))
    }
}

impl Drop for QueueLength {
    fn drop(&mut self) {
        fs::write(QUEUED, &self.0).unwrap();
    }
}

#[tokio::test]
async fn more_changes_than_the_kernel_keeps_lead_to_a_look_at_all() {
    let warden = {
        let Some(_short) = QueueLength::set(16) else {
            println!("NOT SHOWN: {QUEUED} may not be written");
            return;
        };
        let warden = Warden::start(told()).await;
        told_of_locks(&warden).await;
        warden
    };
    let job = Program::sleeper(warden.dir());
    warden.signal(Signal::STOP);
    for id in 1..=300 {
        Lock::new(id, job.pid()).write(&warden.lock_dir());
    }
    warden.signal(Signal::CONT);
    let all = |it: &crate::support::Answer| it.json["count"] == 300;
    warden.until("/migrations?state=alive", SOON, |it| all(it).then_some(())).await;
    assert!(warden.log().contains("more changed than the kernel keeps"), "{}", warden.log());
    // And it is told of as before.
    Lock::new(301, job.pid()).write(&warden.lock_dir());
    wait(&warden, 301, "in_progress alive - run1").await;
}

#[tokio::test]
async fn where_inotify_is_refused_it_is_said_and_found_by_looking() {
    let call = if cfg!(target_arch = "x86_64") { 294 } else { 26 };
    let errno = rustix::io::Errno::NOSYS.raw_os_error();
    let Some(wrapper) = kernel::without_syscalls(&[Refused { call, errno }]) else {
        println!("NOT SHOWN: no numbers of system calls for {}", std::env::consts::ARCH);
        return;
    };
    let mut warden = Warden::prepare(told().set("migrations.interval", "200ms"));
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    warden.launch_under(&words);
    warden.ready().await;
    let ready = warden
        .until("/readyz?verbose", SOON, |it| {
            (it.json["components"]["events"] == "polling").then(|| it.json.clone())
        })
        .await;
    let said = ready["components"]["events_trouble"].to_string();
    assert!(said.contains("no inotify"), "{said}");
    let job = Program::sleeper(warden.dir());
    let path = Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    fs::remove_file(path).unwrap();
    wait(&warden, 1, "completed finished - run1").await;
}
