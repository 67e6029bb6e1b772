//! Stalled is not dead: what counts as progress, when it has stood still for too long, and what follows.

use std::time::Duration;

use super::world::{Case, World, key};
use crate::domain::migration::{LockPid, State};
use crate::domain::reconcile::{LockSight, evaluate, progressed};
use crate::domain::report::{Report, report};
use crate::domain::time::Timestamp;

/// A job of a day, its lock written whole then and known, stalled after half an hour.
fn world() -> World {
    let mut w = World::new();
    w.rules.stall_after = Some(Duration::from_mins(30));
    w.spawn_ago(100, 86_400);
    w.lock(100, 86_400);
    stage(&mut w, 60);
    w.look();
    w
}

/// The runner's `stage_updated_at`, so many seconds ago; negative: in the future.
fn stage(w: &mut World, ago: i64) {
    let at = Timestamp::from_secs(w.now.wall.secs() - ago);
    let LockSight::Present(lock) = &mut w.lock else { panic!("no lock") };
    lock.stage_updated = Some(at);
}

fn without_stage(w: &mut World) {
    let LockSight::Present(lock) = &mut w.lock else { panic!("no lock") };
    lock.stage_updated = None;
}

#[test]
fn a_live_process_is_stalled_by_its_lock_alone() {
    const ALIVE: &str = "in_progress alive - - run1 keep - quiet";
    const STALLS: &str = "in_progress stalled - - run1 keep - flip";
    let cases: [Case; 14] = [
        ("its stage moved a minute ago, its file a day ago", |_| {}, ALIVE),
        ("a moment before the limit", |w| stage(w, 1799), ALIVE),
        ("at the limit", |w| stage(w, 1800), STALLS),
        (
            "a fresh mtime says nothing beside an old stage",
            |w| {
                stage(w, 1800);
                w.touch();
            },
            STALLS,
        ),
        ("without a stage the mtime counts", |w| without_stage(w), STALLS),
        (
            "and moves with every write",
            |w| {
                without_stage(w);
                w.touch();
            },
            ALIVE,
        ),
        (
            "an earlier monitor rewrites it again and again: nothing is concluded",
            |w| {
                without_stage(w);
                for _ in 0..200 {
                    w.touch();
                    w.look();
                    w.pass(10);
                }
            },
            ALIVE,
        ),
        (
            "a stage to come tells nothing, the file does",
            |w| {
                stage(w, -3600);
                w.touch();
            },
            ALIVE,
        ),
        ("a stage to come in an old file", |w| stage(w, -3600), STALLS),
        (
            "it is switched off",
            |w| {
                stage(w, 86_400);
                w.rules.stall_after = None;
            },
            ALIVE,
        ),
        (
            "stopped by a signal it lives",
            |w| {
                stage(w, 1800);
                w.proc(100).stopped = true;
            },
            STALLS,
        ),
        (
            "a lock without a PID knows of the recorded one",
            |w| {
                w.lock_of(LockPid::Missing, None, 1800);
            },
            STALLS,
        ),
        (
            "what is dead is not stalled",
            |w| {
                stage(w, 1800);
                w.kill(100);
            },
            "in_progress gone process_gone - run1 keep +5s write",
        ),
        (
            "a lock without a PID and without a process that is known vouches for nobody",
            |w| {
                w.row = None;
                w.rules.stall_after = Some(Duration::from_secs(10));
                w.lock_of(LockPid::Missing, None, 200);
            },
            "in_progress alive - - run1 keep - insert",
        ),
    ];
    for (name, deed, expected) in cases {
        let mut w = world();
        deed(&mut w);
        assert_eq!(w.look(), expected, "{name}");
    }
}

#[test]
fn it_is_told_when_it_stalls_and_goes_on_and_each_is_an_event() {
    let mut w = world();
    assert_eq!(w.decide().stalls_at, Some(w.now.up.plus(Duration::from_secs(1740))));
    w.pass(1740);
    let decision = w.decide();
    assert_eq!(decision.stalls_at, None);
    assert!(decision.explain.iter().any(|it| it.name == "stalled" && it.holds));
    assert_eq!(w.look(), "in_progress stalled - - run1 keep - flip");
    w.pass(3600);
    assert_eq!(w.look(), "in_progress stalled - - run1 keep - quiet", "once");
    stage(&mut w, 0);
    assert_eq!(w.look(), "in_progress alive - - run1 keep - flip");
    assert_eq!(w.events, ["1:in_progress", "1:in_progress"]);
    assert_eq!(w.row.as_ref().unwrap().error, None);
}

#[test]
fn at_first_sight_it_is_recorded_alive_and_looked_at_again_at_once() {
    let mut w = world();
    w.row = None;
    stage(&mut w, 7200);
    assert_eq!(w.look(), "in_progress alive - - run1 keep +0s insert");
    assert_eq!(w.look(), "in_progress stalled - - run1 keep - flip");
}

#[test]
fn a_stalled_one_that_dies_becomes_an_error_as_any_other() {
    let mut w = world();
    stage(&mut w, 7200);
    w.look();
    w.kill(100);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +5s flip");
    w.pass(5);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
}

#[test]
fn a_run_that_is_over_does_not_stall() {
    let mut w = world();
    stage(&mut w, 7200);
    let body: Report = super::world::says(crate::domain::migration::Status::Completed);
    let sight = w.sight();
    let LockSight::Present(lock) = &sight.lock else { panic!("no lock") };
    let (write, _) =
        report(&key(), w.row.as_ref(), Some((lock, &sight)), &body, true, &w.rules, w.now).unwrap();
    w.store(&write);
    let decision = evaluate(&key(), w.row.as_ref(), &w.sight(), &w.memory, &w.rules, w.now);
    assert_eq!(decision.row.unwrap().state, State::Finished);
    assert_eq!((decision.stalls_at, decision.wake), (None, None));
}

#[test]
fn a_run_that_began_just_now_is_not_stalled_by_an_old_file() {
    let at = |secs| Timestamp::from_secs(secs);
    for (stage, started, mtime, expected) in [
        (None, None, 5, 5),
        (Some(7), None, 5, 7),
        (Some(3), Some(4), 9, 4),
        (None, Some(8), 5, 8),
        (Some(20), Some(30), 5, 5),
    ] {
        let found = progressed(stage.map(at), started.map(at), at(mtime), at(10));
        assert_eq!(found, at(expected), "{stage:?} {started:?} {mtime}");
    }
}
