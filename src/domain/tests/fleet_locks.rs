//! A lock under another instance's row: what lets it change hands.

use super::fleet::{Pair, UNTOUCHED, lose_a, running};
use super::world::says;
use crate::domain::migration::{LockPid, Status};
use crate::domain::process::{OtherNamespaces, Unknowable};
use crate::domain::reconcile::{LockSight, Scope};

/// What is done between `a`'s first look and `b`'s.
type Case = (&'static str, fn(&mut Pair), &'static str);

fn play(cases: &[Case], begin: fn() -> Pair) {
    for (name, deed, expected) in cases {
        let mut pair = begin();
        deed(&mut pair);
        assert_eq!(pair.look("b"), *expected, "{name}");
    }
}

#[test]
fn a_lock_of_a_run_that_another_has_seen_alive_changes_nothing() {
    let cases: &[Case] = &[
        ("not seen here", |_| (), UNTOUCHED),
        ("old and dead here", |p| p.pass(9000), UNTOUCHED),
        (
            "old and dead here, in what is said to be local",
            |p| (p.pass(9000), p.b.rules.scope = Scope::Local).1,
            UNTOUCHED,
        ),
        (
            "its instance is lost",
            |p| (p.pass(9000), p.b.rules.scope = Scope::Local, lose_a(p)).2,
            UNTOUCHED,
        ),
        (
            "another boot of what seems to be the same host",
            |p| (p.b.rules.here.host_id = "a".into(), lose_a(p)).1,
            UNTOUCHED,
        ),
        ("somebody stands under its number here", |p| p.b.spawn_ago(100, 9000), UNTOUCHED),
        (
            "somebody does, and its instance is lost",
            |p| (p.b.spawn_ago(100, 9000), lose_a(p)).1,
            UNTOUCHED,
        ),
        ("not to be told here", |p| p.b.unknown = Some(Unknowable::Refused), UNTOUCHED),
        ("half-written", |p| (p.a.lock_of(LockPid::Missing, None, 0), p.share()).1, UNTOUCHED),
        (
            "half-written, long ago",
            |p| (p.a.lock_of(LockPid::Missing, None, 0), p.share(), p.pass(9000)).2,
            UNTOUCHED,
        ),
        (
            "dying by its own instance's word",
            |p| {
                p.pass(700);
                p.a.kill(100);
                p.look("a");
            },
            "in_progress gone process_gone - run1 keep - quiet, a",
        ),
    ];
    play(cases, running);
}

/// The lock is in a shared directory and `a` has not seen its process.
fn foreign() -> Pair {
    let mut pair = Pair::new();
    pair.lock(100);
    assert_eq!(pair.look("a"), "in_progress foreign - - run1 keep - insert, a");
    pair
}

const TAKEN: &str = "in_progress alive - - run1 keep - write, b";

#[test]
fn a_run_that_nobody_has_seen_alive_is_taken_by_the_one_who_does() {
    let cases: &[Case] = &[
        ("seen alive", |p| p.b.spawn(100), TAKEN),
        ("its instance is lost", |p| (p.b.spawn(100), lose_a(p)).1, TAKEN),
        ("not seen", |_| (), "in_progress foreign - - run1 keep - quiet, a"),
        (
            "a stranger, younger than the lock",
            |p| (p.pass(6), p.b.spawn(100)).1,
            "in_progress foreign - - run1 keep - quiet, a",
        ),
        (
            "dead in what is said to be local",
            |p| (p.pass(9000), p.b.rules.scope = Scope::Local).1,
            "in_progress foreign - - run1 keep - quiet, a",
        ),
        (
            "not to be told either",
            |p| p.b.unknown = Some(Unknowable::Refused),
            "in_progress foreign - - run1 keep - quiet, a",
        ),
    ];
    play(cases, foreign);

    // The same while the other says that it cannot tell, and even that it is dead.
    for (elsewhere, line) in [
        (OtherNamespaces::Namesake, "in_progress unknown pid_namespace - run1 keep - insert, a"),
        (OtherNamespaces::Clear, "in_progress waiting process_gone - run1 keep +5s insert, a"),
    ] {
        let mut pair = Pair::new();
        pair.a.rules.scope = Scope::Local;
        pair.a.elsewhere = elsewhere;
        pair.b.spawn(100);
        pair.lock(100);
        assert_eq!(pair.look("a"), line);
        pair.pass(5);
        pair.look("a");
        assert_eq!(pair.look("b"), TAKEN);
        let row = pair.row().clone();
        assert_eq!((row.host_id.as_str(), row.ended_at), ("b", None));
        assert_eq!(row.identity.unwrap().boot_id, "boot-b");
        assert_eq!(pair.look("a"), "in_progress alive - - run1 keep - quiet, b");
    }
}

#[test]
fn a_process_that_its_own_instance_lost_sight_of_is_taken_where_the_same_one_is_seen() {
    // `a` was started anew in a PID namespace of its own; `b` is where `a` was.
    let mut pair = running();
    pair.b.rules.here = pair.a.rules.here.clone();
    pair.b.procs = pair.a.procs.clone();
    assert_eq!(pair.look("b"), UNTOUCHED, "what its instance sees is its own");
    pair.a.rules.here.pid_ns = 7;
    pair.a.procs.clear();
    assert_eq!(pair.look("a"), "in_progress foreign - - run1 keep - write, a");
    assert_eq!(pair.look("b"), TAKEN);
    for _ in 0..3 {
        assert_eq!(pair.look("a"), "in_progress alive - - run1 keep - quiet, b");
        assert_eq!(pair.look("b"), "in_progress alive - - run1 keep - quiet, b");
    }
    // Another process under the number would not have been taken.
    let mut pair = running();
    pair.b.rules.here = pair.a.rules.here.clone();
    pair.b.spawn(99);
    pair.b.spawn(100);
    pair.a.rules.here.pid_ns = 7;
    pair.a.procs.clear();
    pair.look("a");
    assert_eq!(pair.look("b"), "in_progress foreign - - run1 keep - quiet, a");
}

#[test]
fn a_lost_instances_rows_go_on_in_the_same_pid_table() {
    let mut pair = running();
    pair.b.rules.here = pair.a.rules.here.clone();
    lose_a(&mut pair);
    pair.pass(700);
    assert_eq!(pair.look("b"), "in_progress gone process_gone - run1 keep +5s write, a");
    pair.pass(5);
    assert_eq!(pair.look("b"), "error finished process_gone monitor run1 remove - flip, a");
}

#[test]
fn another_attempt_under_an_unfinished_row() {
    // Both have a lock of the same key in a directory of their own.
    fn seen_alive() -> Pair {
        let mut pair = Pair::local();
        pair.a.spawn(100);
        pair.a.lock(100, 0);
        pair.look("a");
        pair.pass(10);
        pair
    }
    fn seen_dead() -> Pair {
        let mut pair = seen_alive();
        pair.a.restart();
        pair.row = None;
        pair.a.kill(100);
        assert_eq!(pair.look("a"), "in_progress waiting process_gone - run1 keep +5s insert, a");
        pair
    }
    let cases: &[Case] = &[
        ("dead here", |p| p.b.lock(200, 9000), UNTOUCHED),
        ("alive here", |p| (p.b.spawn(200), p.b.lock(200, 0)).1, UNTOUCHED),
        ("dead here, its instance lost", |p| (p.b.lock(200, 9000), lose_a(p)).1, UNTOUCHED),
        (
            "alive here, its instance lost",
            |p| (p.b.spawn(200), p.b.lock(200, 0), lose_a(p)).2,
            TAKEN,
        ),
    ];
    play(cases, seen_alive);
    let waiting = "in_progress waiting process_gone - run1 keep - quiet, a";
    let cases: &[Case] = &[
        ("dead here too", |p| p.b.lock(200, 9000), waiting),
        ("dead here too, its instance lost", |p| (p.b.lock(200, 9000), lose_a(p)).1, waiting),
        ("alive here", |p| (p.b.spawn(200), p.b.lock(200, 0)).1, TAKEN),
    ];
    play(cases, seen_dead);
}

#[test]
fn a_finished_row_begins_again_by_the_usual_rules_where_they_can_be_told() {
    fn finished() -> Pair {
        let mut pair = running();
        pair.a.row.clone_from(&pair.row);
        pair.a.patch(&says(Status::Success), false).unwrap();
        pair.row.clone_from(&pair.a.row);
        pair.pass(700);
        pair
    }
    fn finished_apart() -> Pair {
        let mut pair = finished();
        pair.b.rules.scope = Scope::Local;
        pair.b.lock = LockSight::Absent;
        pair
    }
    let over = "success finished reported runner run1 keep - quiet, a";
    let cases: &[Case] = &[
        ("the lock of that run, dead", |_| (), over),
        ("the lock of that run, its instance lost", lose_a, over),
        ("the lock of that run, somebody alive", |p| p.b.spawn_ago(100, 9000), over),
        ("another attempt, not seen", |p| p.lock(200), over),
        (
            "another attempt, alive",
            |p| (p.b.spawn(200), p.lock(200)).1,
            "in_progress alive - - run2 keep - flip, b",
        ),
    ];
    play(cases, finished);
    let cases: &[Case] = &[
        (
            "another attempt, dead, in a directory of our own",
            |p| p.b.lock(200, 0),
            "in_progress waiting process_gone - run2 keep +5s flip, b",
        ),
        (
            "an older one",
            |p| p.b.lock(200, 9000),
            "success finished reported runner run1 keep +5s quiet, a",
        ),
        (
            "half-written",
            |p| p.b.lock_of(LockPid::Missing, None, 0),
            "success finished reported runner run1 keep - quiet, a",
        ),
    ];
    play(cases, finished_apart);

    let mut pair = finished();
    for _ in 0..3 {
        pair.b.row.clone_from(&pair.row);
        assert!(!pair.b.decide().remove_lock, "its own instance removes it");
        pair.pass(5);
    }
    pair.a.kill(100);
    pair.look("a");
    pair.pass(5);
    assert_eq!(pair.look("a"), "success finished reported runner run1 remove - quiet, a");
}
