//! Attempts: the launcher's lock and the runner's, another run after an end, a lock that outlives its run.

use super::world::{World, case, says};
use crate::domain::migration::{LockPid, Status};
use crate::domain::reconcile::Scope;

/// A job that has just begun and was seen.
fn running() -> World {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    w.look();
    w
}

#[test]
fn the_runner_takes_over_the_launchers_lock_in_the_same_run() {
    // Rewritten in place while the launcher still lives, after its end, and with its death seen once.
    case(
        "the launcher lives",
        |w| {
            *w = running();
            w.spawn(200);
            w.lock(200, 0);
            w.look()
        },
        "in_progress alive - - run1 keep - write",
    );
    case(
        "the launcher is gone",
        |w| {
            *w = running();
            w.kill(100);
            w.pass(2);
            w.spawn(200);
            w.lock(200, 0);
            w.look()
        },
        "in_progress alive - - run1 keep - write",
    );
    case(
        "the launcher was seen dead once",
        |w| {
            *w = running();
            w.kill(100);
            w.look();
            w.pass(4);
            w.spawn(200);
            w.lock(200, 0);
            w.look()
        },
        "in_progress alive - - run1 keep - write",
    );
    case(
        "the runner dies after that: the count begins with its own death",
        |w| {
            *w = running();
            w.kill(100);
            w.look();
            w.pass(4);
            w.lock(200, 9000);
            w.look();
            w.pass(4);
            w.look()
        },
        "in_progress gone process_gone - run1 keep +1s quiet",
    );
    let mut w = running();
    w.kill(100);
    w.spawn(200);
    w.lock(200, 0);
    w.look();
    let row = w.row.unwrap();
    assert_eq!((row.lock_pid, row.identity.unwrap().pid), (Some(200), 200));
}

#[test]
fn a_death_that_was_recorded_is_followed_by_another_run() {
    let mut w = running();
    w.pass(1);
    w.kill(100);
    w.look();
    w.pass(5);
    assert!(w.look().starts_with("in_progress waiting process_gone - run1 keep"));
    w.pass(1);
    w.spawn(200);
    w.lock(200, 0);
    assert_eq!(w.look(), "in_progress alive - - run2 keep - write");
    assert_eq!(w.row.as_ref().unwrap().ended_at, None);
    assert!(w.events.is_empty());
}

#[test]
fn an_older_dead_lock_is_no_attempt_after_a_recorded_death() {
    let mut w = World::new();
    w.lock(100, 10);
    w.look();
    w.pass(5);
    w.look();
    w.lock(200, 60);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +5s write");
    assert_eq!(w.row.unwrap().ended_at, None, "this one's death is yet to be proven");
}

/// Its PID came back: with a start in the lock that is another job's, without one the lock's own writing decides.
#[test]
fn a_lock_without_a_start_that_was_written_again_is_the_living_ones() {
    for (rewritten, expected) in [
        (true, "in_progress alive - - run1 keep - write"),
        (false, "in_progress waiting pid_reused - run1 keep +5s write"),
    ] {
        for boot in [false, true] {
            let mut w = World::new();
            w.spawn(100);
            w.lock_of(LockPid::Number(100), None, 0);
            w.look();
            w.kill(100);
            if boot {
                w.reboot();
            }
            w.pass(60);
            w.spawn(100);
            if rewritten {
                w.lock_of(LockPid::Number(100), None, 0);
            }
            let expected =
                if boot { expected.replace("pid_reused", "rebooted") } else { expected.into() };
            assert_eq!(w.look(), expected);
        }
    }
}

/// A row that ended in an error, its lock removed.
fn failed() -> World {
    let mut w = World::new();
    w.spawn_ago(100, 9000);
    w.lock(100, 9000);
    w.look();
    w.kill(100);
    w.look();
    w.pass(5);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    w.pass(60);
    w
}

#[test]
fn a_second_attempt_on_a_finished_row() {
    case(
        "alive",
        |w| {
            *w = failed();
            w.spawn(200);
            w.lock(200, 0);
            w.look()
        },
        "in_progress alive - - run2 keep - flip",
    );
    case(
        "already dead, started after the end",
        |w| {
            *w = failed();
            w.lock(200, 1);
            w.look()
        },
        "in_progress waiting process_gone - run2 keep +5s flip",
    );
    case(
        "already dead, started before the end",
        |w| {
            *w = failed();
            w.lock(200, 300);
            w.look()
        },
        "error finished process_gone monitor run1 keep +5s quiet",
    );
    case(
        "already dead, its mtime after the end where no start is told",
        |w| {
            *w = failed();
            w.lock_of(LockPid::Number(200), None, 1);
            w.look()
        },
        "in_progress waiting process_gone - run2 keep +5s flip",
    );
    case(
        "alive under the same PID with another start",
        |w| {
            *w = failed();
            w.spawn(100);
            w.lock(100, 0);
            w.look()
        },
        "in_progress alive - - run2 keep - flip",
    );
    case(
        "alive under the same PID, neither lock with a start",
        |w| {
            *w = failed();
            w.spawn(100);
            w.lock_of(LockPid::Number(100), None, 0);
            w.row.as_mut().unwrap().lock_started = None;
            w.look()
        },
        "in_progress alive - - run2 keep - flip",
    );
    case(
        "of another host",
        |w| {
            *w = failed();
            w.rules.scope = Scope::Shared;
            w.lock(200, 1);
            w.look()
        },
        "in_progress foreign - - run2 keep - flip",
    );
    let mut w = failed();
    w.lock(200, 1);
    w.look();
    w.pass(5);
    w.look();
    w.pass(600);
    assert_eq!(w.look(), "error finished process_gone monitor run2 remove - flip");
    assert_eq!(w.events, ["1:error", "2:in_progress", "2:error"]);
    let row = w.row.unwrap();
    assert!(row.created_at < row.since, "the first sight of the row is kept");
}

#[test]
fn a_lock_that_stays_after_the_runners_report_reopens_nothing() {
    let mut w = running();
    w.pass(60);
    assert_eq!(w.patch(&says(Status::Success), false), Ok(true));
    assert_eq!(w.look(), "success finished reported runner run1 keep - quiet");
    w.touch();
    assert_eq!(w.look(), "success finished reported runner run1 keep - quiet");
    w.pass(1);
    w.kill(100);
    assert_eq!(w.look(), "success finished reported runner run1 keep +5s quiet");
    w.pass(5);
    assert_eq!(w.look(), "success finished reported runner run1 keep +534001ms quiet");
    w.pass_ms(534_001);
    assert_eq!(w.look(), "success finished reported runner run1 remove - quiet");
    assert_eq!(w.events, ["1:success"]);
}

#[test]
fn a_lock_without_a_start_that_stays_after_the_report_reopens_nothing_either() {
    let mut w = World::new();
    w.spawn(100);
    w.lock_of(LockPid::Number(100), None, 0);
    w.look();
    w.pass(60);
    w.patch(&says(Status::Success), false).unwrap();
    w.pass(1);
    w.touch();
    assert_eq!(w.look(), "success finished reported runner run1 keep - quiet");
    w.kill(100);
    w.pass(1);
    assert_eq!(w.look(), "success finished reported runner run1 keep +5s quiet");
}

#[test]
fn a_lock_that_could_not_be_seen_when_its_runner_reported_reopens_nothing() {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    let lock = w.lock.clone();
    w.pass(60);
    w.unlock();
    assert_eq!(w.patch(&says(Status::Completed), true), Ok(true));
    w.pass(5);
    w.lock = lock;
    assert_eq!(w.row_line(), "completed finished reported runner run1");
    w.look();
    assert_eq!(w.row_line(), "completed finished reported runner run1");
    w.spawn(200);
    w.lock(200, 0);
    assert_eq!(w.look(), "in_progress alive - - run2 keep - flip");
}

#[test]
fn an_empty_lock_long_after_the_end_is_not_the_finished_runs() {
    let mut w = failed();
    w.pass(86_400);
    w.lock_of(LockPid::Missing, None, 0);
    w.look();
    w.pass(601);
    assert_eq!(w.look(), "error finished process_gone monitor run1 keep - quiet");
}

#[test]
fn a_late_progress_write_without_a_pid_is_the_finished_runs() {
    let mut w = running();
    w.pass(60);
    w.patch(&says(Status::Completed), false).unwrap();
    w.unlock();
    w.look();
    w.kill(100);
    w.lock_of(LockPid::Missing, None, 0);
    assert_eq!(w.look(), "completed finished reported runner run1 keep +5s quiet");
    w.pass(601);
    assert_eq!(w.look(), "completed finished reported runner run1 remove - quiet");
}

#[test]
fn a_run_begins_unfinished_even_if_its_death_was_seen_twice_before_it_could_be_written() {
    let mut w = running();
    w.patch(&says(Status::Success), false).unwrap();
    w.pass(10);
    w.lock(200, 0);
    // The database does not answer at the first look.
    w.memory = w.decide().memory;
    w.pass(601);
    assert_eq!(w.look(), "in_progress gone process_gone - run2 keep +-596s flip");
    assert_eq!(w.look(), "error finished process_gone monitor run2 remove - flip");
    assert_eq!(w.events, ["1:success", "2:in_progress", "2:error"]);
}
