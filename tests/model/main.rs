//! The protocol between runners, monitors, an operator and the database, explored to its last state within bounds.
//!
//! The judgement is the real one, `domain::reconcile::evaluate` and `domain::report`; what is around it is a model of
//! `reconciler::migrations`, `locks` and `store`, step by step: a monitor looks at the directory, at the process, judges and
//! writes, checks a lock, takes it out of its place, compares, removes; and before each of these it may stand still for as
//! long as it likes, or be killed. A job is started, shows progress, reports, removes its lock, ends, is killed, is started
//! again under another number or the same. The clock is a tick of 6 s; two looks must be one tick apart, and a lock is old
//! after more than one.
//!
//! In every state: never an error after the end of the same run, nor of a run that lives, was reported or ended well; never
//! a live lock removed but by force; every turn told once. And from every state on, if nothing happens any more but that
//! the monitors go on (those that were killed are started again), within 7 ticks the row says what became of the last
//! attempt, and its lock is gone if it is dead.
//!
//! Not in it: clocks that step, other hosts, locks without a PID (`domain/tests` has those); a number given again within
//! 5 s; two attempts of one job at once; a runner that removes its lock in the moment in which a removal has it in its hands
//! ([`a_runner_that_ends_while_its_lock_stands_aside_is_a_known_limit`]).
//!
//! What the tests explore, measured (states that differ, and the longest way to one of them):
//!
//! | test | states | depth |
//! |---|---|---|
//! | a monitor that is killed anywhere, a job that is started again | 173,059 | 38 |
//! | process and lock come and go one after the other, a monitor that is killed | 53,083 | 29 |
//! | reports, and ends that the kernel tells | 99,456 | 28 |
//! | a stranger under the number, ends not told and told | 24,116 and 28,936 | 28 |
//! | an operator, a monitor that is killed | 66,522 | 29 |
//! | an answer of the database that is lost | 45,315 | 30 |
//! | two monitors | 101,391 | 30 |
//! | one that is taken for lost and goes on | 256,767 | 35 |
//! | others write between the check of a lock and its removal | 54,347 | 34 |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, helpers included"
)]

mod monitor;
mod protocol;
mod settle;
mod world;

use std::sync::Arc;

use protocol::{Action, Bounds, Broken, Protocol};
use stateright::{Checker, HasDiscoveries, Model};

/// One monitor, one start of the job, and nothing goes wrong but the job.
const CALM: Bounds = Bounds {
    monitors: 1,
    attempts: 1,
    ticks: 4,
    crashes: 0,
    failures: 0,
    standstill: false,
    strangers: 0,
    takes: 0,
    fine: false,
    reports: false,
    exits: false,
    open_window: false,
    ends_aside: false,
    broken: None,
    before: &[],
};

/// The job has died, and both monitors have seen it once.
const SEEN_DEAD_BY_BOTH: &[Action] = &[
    Action::Start(0),
    Action::Tick,
    Action::LookAtLock(0, true),
    Action::LookAtProcess(0),
    Action::Judge(0),
    Action::Follow(1),
    Action::Die(0),
    Action::LookAtLock(0, true),
    Action::LookAtProcess(0),
    Action::Judge(0),
    Action::Follow(1),
    Action::LookAtLock(1, true),
    Action::LookAtProcess(1),
    Action::Judge(1),
    Action::Tick,
];

/// Two monitors judge the same death, and the job is started again.
const TAKEN_FOR_LOST: Bounds = Bounds {
    monitors: 2,
    attempts: 2,
    ticks: 3,
    standstill: true,
    before: SEEN_DEAD_BY_BOTH,
    ..CALM
};

/// Explores every state, or until something does not hold.
fn explore(bounds: Bounds) -> (impl Checker<Protocol>, Vec<&'static str>) {
    let model = Protocol::new(bounds);
    let seen = Arc::clone(&model.seen);
    let failures = HasDiscoveries::AnyFailures;
    let checker = model.checker().threads(2).finish_when(failures).spawn_bfs().join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    let seen = seen.lock().unwrap().iter().copied().collect();
    (checker, seen)
}

/// Everything holds in every state, and all of `reached` was on the way.
fn holds(bounds: Bounds, reached: &[&str]) {
    let (checker, seen) = explore(bounds);
    checker.assert_properties();
    for what in reached {
        assert!(seen.contains(what), "{what} is never reached, only {seen:?}");
    }
}

/// Something does not hold.
fn fails(bounds: Bounds) {
    let (checker, _) = explore(bounds);
    let found = checker.discoveries();
    assert!(!found.is_empty(), "it is not missed: {:?}", bounds.broken);
    for (property, path) in found {
        println!("not so: {property}, after {:?}", path.into_actions());
    }
}

#[test]
fn a_monitor_that_is_killed_anywhere_and_a_job_that_is_started_again() {
    let reached = [
        "an error of the first run",
        "a second run",
        "an error of a later run",
        "completed as concluded",
        "a dead lock removed",
        "a lock that changed before its removal",
        "a newer lock wins",
    ];
    holds(Bounds { attempts: 2, crashes: 1, ..CALM }, &reached);
}

#[test]
fn a_job_whose_process_and_lock_come_and_go_one_after_the_other() {
    holds(Bounds { crashes: 1, fine: true, ..CALM }, &["an error of the first run"]);
}

#[test]
fn a_runner_reports_and_the_kernel_tells_how_it_ended() {
    let reached = ["completed as reported", "a look at a row that is no more"];
    holds(Bounds { attempts: 2, ticks: 3, reports: true, exits: true, ..CALM }, &reached);
}

#[test]
fn a_stranger_gets_the_number_of_a_dead_job() {
    let bounds = Bounds { crashes: 1, strangers: 1, ..CALM };
    holds(bounds, &["an error of the first run"]);
    holds(Bounds { exits: true, ..bounds }, &["an error of the first run"]);
}

#[test]
fn an_operator_takes_the_lock() {
    let reached = [
        "a live lock taken by force",
        "an operator is told that the process lives",
        "an error by an operator",
    ];
    holds(Bounds { crashes: 1, takes: 1, ..CALM }, &reached);
}

#[test]
fn a_database_that_does_not_answer() {
    holds(Bounds { attempts: 2, ticks: 3, failures: 1, ..CALM }, &["an error of the first run"]);
}

#[test]
fn two_monitors() {
    let reached = ["a write that lost its race", "an error of the first run"];
    holds(Bounds { monitors: 2, ticks: 3, ..CALM }, &reached);
}

#[test]
fn a_monitor_that_stands_still_is_taken_for_lost_and_goes_on() {
    holds(
        TAKEN_FOR_LOST,
        &["a write that lost its race", "an error of the first run", "a second run"],
    );
}

#[test]
fn others_write_between_the_check_of_a_lock_and_its_removal() {
    let reached = ["a lock that changed during its removal", "a second run"];
    holds(Bounds { attempts: 2, open_window: true, ..CALM }, &reached);
}

#[test]
#[ignore = "slow: several minutes"]
fn two_monitors_that_are_killed() {
    holds(Bounds { monitors: 2, crashes: 1, ..CALM }, &["an error of the first run"]);
}

#[test]
#[ignore = "slow: several minutes"]
fn a_runner_reports_to_a_monitor_that_is_killed() {
    let bounds = Bounds { crashes: 1, reports: true, exits: true, ..CALM };
    holds(Bounds { attempts: 2, ..bounds }, &["completed as reported"]);
}

#[test]
#[ignore = "slow: several minutes"]
fn three_monitors() {
    holds(Bounds { monitors: 3, ticks: 2, ..CALM }, &["a write that lost its race"]);
}

#[test]
fn a_write_that_asks_for_the_status_alone_is_caught() {
    fails(Bounds { broken: Some(Broken::CasOfStatusAlone), ..TAKEN_FOR_LOST });
}

#[test]
fn a_removal_without_verification_is_caught() {
    let broken = Some(Broken::RemovalWithoutVerification);
    fails(Bounds { attempts: 2, broken, ..CALM });
}

#[test]
fn a_single_look_is_caught() {
    fails(Bounds { broken: Some(Broken::OneLook), ..CALM });
}

/// The model found this one: the runner removed its lock itself, between the operator's word and the removal.
#[test]
fn a_claim_that_is_kept_is_caught() {
    fails(Bounds { takes: 1, broken: Some(Broken::ClaimThatIsKept), ..CALM });
}

/// A new attempt's lock may be taken out of its place in the moment between the check and the renaming; a runner that ends
/// before it is back finds none to remove, and a dead lock comes back. Two system calls lie between, unless the monitor is
/// killed there.
#[test]
fn a_runner_that_ends_while_its_lock_stands_aside_is_a_known_limit() {
    fails(Bounds { attempts: 2, open_window: true, ends_aside: true, ..CALM });
}
