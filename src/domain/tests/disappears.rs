//! A lock that disappears, by itself or by an operator's hand, and a directory that changes under us.

use super::world::{Case, DIR, Deed, OTHER_DIR, World, says};
use crate::domain::migration::{LockPid, Status};
use crate::domain::process::{Exit, OtherNamespaces, Unknowable};
use crate::domain::reconcile::{LockSight, Scope};
use crate::domain::report::{Refusal, may_take};

fn running() -> World {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    w.look();
    w
}

/// Two looks at the absence, 5 s apart; the second one's line.
fn released(w: &mut World) -> String {
    w.unlock();
    let first = w.look();
    assert!(first.ends_with("keep +5s quiet"), "{first}");
    w.pass(5);
    w.look()
}

#[test]
fn the_first_rule_that_applies_ends_the_run() {
    let cases: &[Case] = &[
        (
            "2: exit 0",
            |w| {
                w.kill(100);
                w.exit = Some(Exit::Code(0));
            },
            "completed finished exited monitor run1 keep - flip",
        ),
        (
            "2: exit 1",
            |w| {
                w.kill(100);
                w.exit = Some(Exit::Code(1));
            },
            "error finished exited monitor run1 keep - flip",
        ),
        (
            "2: a signal",
            |w| {
                w.kill(100);
                w.exit = Some(Exit::Signal(15));
            },
            "error finished killed monitor run1 keep - flip",
        ),
        (
            "2 before 3",
            |w| {
                w.kill(100);
                w.exit = Some(Exit::Code(0));
                w.look();
                w.pass(5);
                w.look();
            },
            "completed finished exited monitor run1 keep - flip",
        ),
        (
            "3: death proven at two looks",
            |w| {
                w.kill(100);
                w.look();
                w.pass(5);
                w.look();
            },
            "error finished lock_removed monitor run1 keep - flip",
        ),
        (
            "3 survives a restart",
            |w| {
                w.kill(100);
                w.look();
                w.pass(5);
                w.look();
                w.restart();
            },
            "error finished lock_removed monitor run1 keep - flip",
        ),
        (
            "4: death seen once is not proven",
            |w| {
                w.kill(100);
                w.look();
            },
            "completed finished - lock_released run1 keep - flip",
        ),
        (
            "4: gone between two looks",
            |w| w.kill(100),
            "completed finished - lock_released run1 keep - flip",
        ),
        ("4: the process lives on", |_| {}, "completed finished - lock_released run1 keep - flip"),
        (
            "4: nobody watched",
            World::restart,
            "completed finished - lock_released_unwatched run1 keep - flip",
        ),
        (
            "4: foreign",
            |w| {
                w.kill(100);
                w.rules.scope = Scope::Shared;
                w.lock(300, 0);
                w.look();
            },
            "completed finished - lock_released run1 keep - flip",
        ),
    ];
    for (name, set, expected) in cases {
        let mut w = running();
        w.pass(60);
        set(&mut w);
        assert_eq!(released(&mut w), *expected, "{name}");
        assert_eq!(w.events.len(), 1, "{name}");
        assert_eq!(w.look(), expected.replace("flip", "quiet"), "{name}");
    }
}

#[test]
fn what_the_runner_reported_comes_first() {
    for status in [Status::Success, Status::Completed, Status::Error] {
        let mut w = running();
        w.patch(&says(status), false).unwrap();
        w.kill(100);
        w.exit = Some(Exit::Signal(9));
        w.unlock();
        w.look();
        w.pass(5);
        assert_eq!(w.look(), format!("{status} finished reported runner run1 keep - quiet"));
    }
}

#[test]
fn an_end_learned_later_changes_nothing() {
    let mut w = running();
    released(&mut w);
    w.exit = Some(Exit::Signal(9));
    w.kill(100);
    w.pass(60);
    assert_eq!(w.look(), "completed finished - lock_released run1 keep - quiet");
}

#[test]
fn the_absence_must_last() {
    let mut w = running();
    let lock = w.lock.clone();
    w.unlock();
    w.look();
    w.pass(4);
    w.lock = lock;
    assert_eq!(w.look(), "in_progress alive - - run1 keep - quiet");
    w.unlock();
    w.pass(4);
    assert_eq!(w.look(), "in_progress alive - - run1 keep +5s quiet");
    w.step_wall(3600);
    w.pass(4);
    assert_eq!(w.look(), "in_progress alive - - run1 keep +1s quiet");
}

#[test]
fn a_directory_that_changed_or_failed_concludes_nothing() {
    let cases: &[(&str, Deed)] = &[
        ("another one", |w| w.dir = Some(OTHER_DIR)),
        ("no mark", |w| w.dir = None),
        ("failed", |w| w.lock = LockSight::Blind),
        ("the file is there and unreadable", |w| w.lock = LockSight::Blocked),
    ];
    for restart in [false, true] {
        for (name, set) in cases {
            let mut w = running();
            w.unlock();
            set(&mut w);
            if restart {
                w.restart();
            }
            for _ in 0..3 {
                w.pass(10);
                assert_eq!(w.look(), "in_progress alive - - run1 keep - quiet", "{name}");
            }
            // It comes back without the lock: only now the absence begins.
            w.dir = Some(DIR);
            w.unlock();
            assert_eq!(w.look(), "in_progress alive - - run1 keep +5s quiet", "{name}");
            w.pass(5);
            assert!(w.look().starts_with("completed finished - lock_released"), "{name}");
        }
    }
}

/// Its process died while another directory stood under the path.
fn gone_elsewhere() -> World {
    let mut w = running();
    w.unlock();
    w.dir = Some(OTHER_DIR);
    w.kill(100);
    assert_eq!(w.look(), "in_progress unknown process_gone - run1 keep - write");
    w.pass(9000);
    assert_eq!(w.look(), "in_progress unknown process_gone - run1 keep - quiet");
    w
}

#[test]
fn a_death_is_told_although_another_directory_concludes_nothing() {
    // The first one again, without the lock: as if that had gone before the process. No error.
    let mut w = gone_elsewhere();
    w.dir = Some(DIR);
    w.look();
    w.pass(5);
    assert!(w.look().starts_with("completed finished - lock_released"));
    // With the lock it is a death like any other.
    let mut w = gone_elsewhere();
    w.dir = Some(DIR);
    w.lock(100, 9000);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +5s write");
    w.pass(5);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    // And how it ended counts, whenever that is told.
    let mut w = gone_elsewhere();
    w.exit = Some(Exit::Signal(9));
    assert_eq!(w.look(), "in_progress unknown killed - run1 keep - write");
    assert_eq!(w.look(), "in_progress unknown killed - run1 keep - quiet");
    w.dir = Some(DIR);
    w.look();
    w.pass(5);
    assert_eq!(w.look(), "error finished killed monitor run1 keep - flip");
}

#[test]
fn a_directory_that_fails_between_the_two_scans_starts_the_count_again() {
    let mut w = running();
    w.unlock();
    w.look();
    w.lock = LockSight::Blind;
    w.pass(4);
    w.look();
    w.unlock();
    w.pass(4);
    assert_eq!(w.look(), "in_progress alive - - run1 keep +5s quiet");
}

#[test]
fn forced_removal_waits_for_the_end_of_that_identity() {
    let mut w = running();
    w.take();
    assert_eq!(w.row_line(), "in_progress alive lock_removed - run1");
    assert_eq!(w.look(), "in_progress alive lock_removed - run1 keep - quiet");
    w.pass(9000);
    assert_eq!(w.look(), "in_progress alive lock_removed - run1 keep - quiet");
    w.restart();
    w.pass(10);
    assert_eq!(w.look(), "in_progress alive lock_removed - run1 keep - quiet");
    w.kill(100);
    w.spawn(100);
    assert_eq!(w.look(), "in_progress alive lock_removed - run1 keep +5s quiet");
    w.pass(5);
    assert_eq!(w.look(), "error finished lock_removed operator run1 keep - flip");
    assert_eq!(w.events, ["1:error"]);
}

#[test]
fn forced_removal_while_its_process_cannot_be_seen_waits() {
    let cases: &[(&str, Deed)] = &[
        ("refused", |w| w.unknown = Some(Unknowable::Refused)),
        ("procwarden moved to another namespace", |w| w.rules.here.pid_ns = 7),
    ];
    for (name, set) in cases {
        let mut w = running();
        w.take();
        set(&mut w);
        w.pass(60);
        w.look();
        w.pass(60);
        assert_eq!(w.look(), "in_progress unknown lock_removed - run1 keep - quiet", "{name}");
    }
    let mut w = running();
    w.take();
    w.reboot();
    w.rules.here.pid_ns = 7;
    w.look();
    w.pass(5);
    assert_eq!(w.look(), "error finished lock_removed operator run1 keep - flip", "rebooted");
}

#[test]
fn removal_by_an_operator_of_a_lock_whose_process_is_dead_or_unknown_ends_the_run() {
    for set in [
        |w: &mut World| w.lock(100, 10),
        |w: &mut World| w.lock_of(LockPid::Missing, None, 400),
        |w: &mut World| w.lock(0, 10),
    ] {
        let mut w = World::new();
        set(&mut w);
        w.look();
        w.take();
        w.look();
        w.pass(5);
        assert_eq!(w.look(), "error finished lock_removed operator run1 keep - flip");
        assert_eq!(w.patch(&says(Status::Success), false), Ok(true), "the runner knows better");
    }
}

#[test]
fn a_new_attempt_after_a_forced_removal_is_an_ordinary_run() {
    let mut w = running();
    w.take();
    w.look();
    w.kill(100);
    w.spawn(200);
    w.lock(200, 0);
    assert_eq!(w.look(), "in_progress alive - - run1 keep - write");
    assert_eq!(released(&mut w), "completed finished - lock_released run1 keep - flip");
}

#[test]
fn an_operator_may_take_what_is_dead_or_names_no_process() {
    let may = |set: fn(&mut World)| {
        let mut w = running();
        w.pass(400);
        set(&mut w);
        let sight = w.sight();
        may_take(&crate::domain::reconcile::standing(w.row.as_ref(), &sight, &w.rules, w.now.wall))
    };
    assert!(!may(|_| {}), "alive");
    assert!(!may(|w| w.unknown = Some(Unknowable::Refused)), "recorded, cannot be asked now");
    assert!(!may(|w| (w.row = None, w.elsewhere = OtherNamespaces::Hidden, w.kill(100)).2));
    assert!(!may(|w| (w.row = None, w.rules.scope = Scope::Shared, w.kill(100)).2), "foreign");
    assert!(!may(|w| (w.row = None, w.lock_of(LockPid::Missing, None, 10)).1), "being written");
    assert!(may(|w| w.kill(100)), "dead");
    assert!(may(|w| (w.row = None, w.lock_of(LockPid::Missing, None, 400)).1), "no PID");
    assert!(may(|w| (w.row = None, w.lock(0, 400)).1), "PID 0");
}

#[test]
fn a_report_overrides_what_was_only_concluded() {
    let mut w = running();
    released(&mut w);
    assert_eq!(w.patch(&says(Status::Error), false), Ok(true));
    assert_eq!(w.row_line(), "error finished reported runner run1");
    assert_eq!(w.events, ["1:completed", "1:error"]);
    assert_eq!(
        w.patch(&says(Status::Success), false),
        Err(Refusal::AlreadyFinished(Status::Error)),
        "once only"
    );
}
