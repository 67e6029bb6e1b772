//! How a process ended, and when the status will turn: what is kept of it, and whose it is.

use super::world::World;
use crate::domain::migration::{Reason, Status};
use crate::domain::process::Exit;

/// A process that was seen alive under a lock of a minute, killed by SIGKILL, and a look that was told so.
fn killed() -> World {
    let mut w = World::new();
    w.spawn_ago(100, 60);
    w.lock(100, 60);
    w.look();
    w.kill(100);
    w.exit = Some(Exit::Signal(9));
    w.look();
    w
}

fn exit(w: &World) -> Option<Exit> {
    w.row.as_ref().unwrap().exit
}

#[test]
fn what_was_told_once_is_known_to_later_looks_and_after_a_restart() {
    let mut w = killed();
    assert_eq!(exit(&w), Some(Exit::Signal(9)));
    // Only who held on to the process is told.
    w.exit = None;
    w.restart();
    for _ in 0..3 {
        w.pass(600);
        w.look();
    }
    let row = w.row.as_ref().unwrap();
    assert_eq!((row.status, row.reason), (Status::Error, Some(Reason::Killed)));
    assert_eq!(row.exit, Some(Exit::Signal(9)));
    assert!(row.error.as_ref().unwrap().contains("killed by SIGKILL"), "{:?}", row.error);
}

#[test]
fn it_decides_when_the_lock_goes_after_a_restart_too() {
    let mut w = killed();
    w.exit = None;
    w.restart();
    w.unlock();
    w.look();
    w.pass(5);
    w.look();
    let row = w.row.as_ref().unwrap();
    assert_eq!((row.status, row.reason), (Status::Error, Some(Reason::Killed)));
}

#[test]
fn another_attempt_begins_without_it() {
    let mut w = killed();
    w.exit = None;
    w.spawn(101);
    w.lock(101, 0);
    w.look();
    assert_eq!(exit(&w), None, "another PID in the lock");
    assert_eq!(w.row.as_ref().unwrap().status, Status::InProgress);
}

#[test]
fn when_it_turns_is_told_while_it_is_dead_and_unfinished() {
    let mut w = World::new();
    w.spawn_ago(100, 60);
    w.lock(100, 60);
    assert_eq!(w.decide().turns_at, None, "it lives");
    w.look();
    w.kill(100);
    // The lock is a minute old, the grace ten.
    let at = |w: &World| w.decide().turns_at.map(|at| at.since(w.now.wall).as_secs());
    assert_eq!(at(&w), Some(540));
    w.look();
    w.pass(100);
    assert_eq!(at(&w), Some(440), "the moment stays");
    w.look();
    w.pass(441);
    assert_eq!(w.decide().turns_at, None, "it has turned");
    w.look();
    assert_eq!(w.row.as_ref().unwrap().status, Status::Error);
    // Older than the grace when its death is seen first: the second look decides.
    let mut w = World::new();
    w.spawn_ago(100, 9000);
    w.lock(100, 9000);
    w.look();
    w.kill(100);
    assert_eq!(w.decide().turns_at.map(|at| at.since(w.now.wall).as_secs()), Some(5));
}
