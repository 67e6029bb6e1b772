//! `PATCH /migrations/{id}`: what the runner says about its own end.

use super::world::{Deed, World, key, says};
use crate::domain::migration::{LockPid, Status};
use crate::domain::process::OtherNamespaces;
use crate::domain::reconcile::{LockSight, Write};
use crate::domain::report::{Refusal, Report, report};

const ENDS: [Status; 3] = [Status::Success, Status::Completed, Status::Error];

fn running() -> World {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    w.look();
    w
}

#[test]
fn it_is_stored_as_sent() {
    for status in ENDS {
        let mut w = running();
        w.pass(3);
        let body = Report { error: Some("disk full".into()), ..says(status) };
        assert_eq!(w.patch(&body, false), Ok(true));
        assert_eq!(w.row_line(), format!("{status} finished reported runner run1"));
        let row = w.row.unwrap();
        assert_eq!(row.error.is_some(), status == Status::Error, "an error text beside success");
        assert_eq!((row.ended_at, row.status_updated_at), (Some(w.now.wall), Some(w.now.wall)));
        assert_eq!(w.events, [format!("1:{status}")]);
    }
}

#[test]
fn the_same_word_again_is_no_write_and_another_word_is_refused() {
    for first in ENDS {
        for second in ENDS {
            let mut w = running();
            w.patch(&says(first), false).unwrap();
            w.pass(1);
            let expected =
                if first == second { Ok(false) } else { Err(Refusal::AlreadyFinished(first)) };
            assert_eq!(w.patch(&says(second), false), expected, "{first}, then {second}");
            assert_eq!(w.events.len(), 1);
        }
    }
}

#[test]
fn the_monitors_error_stands_unless_it_was_concluded_from_a_missing_lock() {
    let mut w = World::new();
    w.lock(100, 9000);
    w.look();
    w.pass(5);
    w.look();
    assert_eq!(w.patch(&says(Status::Error), false), Ok(false));
    assert_eq!(
        w.patch(&says(Status::Success), false),
        Err(Refusal::AlreadyFinished(Status::Error))
    );

    // (what went before, what it had become)
    let cases: &[(Deed, &str)] = &[
        (|_| {}, "completed finished - lock_released run1"),
        (World::restart, "completed finished - lock_released_unwatched run1"),
        (
            |w| {
                w.kill(100);
                w.look();
                w.pass(5);
                w.look();
            },
            "error finished lock_removed monitor run1",
        ),
        (
            |w| {
                w.take();
                w.kill(100);
                w.look();
            },
            "error finished lock_removed operator run1",
        ),
    ];
    for (set, became) in cases {
        for status in ENDS {
            let mut w = running();
            set(&mut w);
            w.unlock();
            w.look();
            w.pass(5);
            w.look();
            assert_eq!(w.row_line(), *became);
            assert_eq!(w.patch(&says(status), false), Ok(true), "{became}");
            assert_eq!(w.row_line(), format!("{status} finished reported runner run1"));
        }
    }
}

#[test]
fn another_run_is_refused_whatever_the_row_says() {
    for finished in [false, true] {
        let mut w = running();
        if finished {
            w.patch(&says(Status::Success), false).unwrap();
        }
        for run in [0, 2] {
            let body = Report { run: Some(run), ..says(Status::Success) };
            assert_eq!(w.patch(&body, false), Err(Refusal::RunMismatch(1)));
        }
        let body = Report { run: Some(1), ..says(Status::Success) };
        assert_eq!(w.patch(&body, false), Ok(!finished));
    }
}

#[test]
fn without_row_and_lock_it_needs_the_whole_key() {
    let mut w = World::new();
    assert_eq!(w.patch(&says(Status::Success), false), Err(Refusal::NotFound));
    assert_eq!(w.patch(&says(Status::Success), true), Ok(true));
    assert_eq!(w.row_line(), "success finished reported runner run1");
    let row = w.row.clone().unwrap();
    assert_eq!((row.key, row.lock_pid, row.identity), (key(), None, None));
    assert_eq!(w.look(), "success finished reported runner run1 keep - quiet");
}

#[test]
fn a_lock_is_enough_and_is_read_first() {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    assert_eq!(w.patch(&says(Status::Success), false), Ok(true));
    let row = w.row.clone().unwrap();
    let LockSight::Present(lock) = &w.lock else { unreachable!() };
    assert_eq!((row.lock_pid, row.lock_started), (Some(100), lock.started));
    assert_eq!(row.lock_mark, Some(lock.mark));
    assert_eq!(row.identity.unwrap().pid, 100);
    // So that the lock it leaves is known as this run's, alive and dead.
    assert_eq!(w.look(), "success finished reported runner run1 keep - quiet");
    w.kill(100);
    w.elsewhere = OtherNamespaces::Hidden;
    w.pass(9000);
    assert_eq!(w.look(), "success finished reported runner run1 keep +5s quiet");
    w.pass(5);
    assert_eq!(w.look(), "success finished reported runner run1 remove - quiet");
}

#[test]
fn the_runners_lock_that_no_tick_has_seen_yet_belongs_to_the_report() {
    // The launcher's lock was seen; the runner rewrote it, was done at once and reports.
    let mut w = running();
    w.kill(100);
    w.spawn(200);
    w.lock(200, 0);
    w.patch(&says(Status::Success), false).unwrap();
    let row = w.row.clone().unwrap();
    assert_eq!((row.run, row.lock_pid, row.identity.unwrap().pid), (1, Some(200), 200));
    assert_eq!(w.look(), "success finished reported runner run1 keep - quiet");
}

#[test]
fn a_second_attempt_that_no_tick_has_seen_reports_its_own_run() {
    let mut w = running();
    w.patch(&says(Status::Error), false).unwrap();
    w.kill(100);
    w.unlock();
    w.look();
    w.pass(60);
    w.spawn(200);
    w.lock(200, 0);
    let run = |run| Report { run: Some(run), ..says(Status::Success) };
    assert_eq!(w.patch(&run(1), false), Err(Refusal::RunMismatch(2)));
    assert_eq!(w.patch(&run(2), false), Ok(true));
    assert_eq!(w.row_line(), "success finished reported runner run2");
}

#[test]
fn a_lock_being_written_does_not_hide_the_pid_that_is_known() {
    let mut w = running();
    w.lock_of(LockPid::Missing, None, 0);
    w.patch(&says(Status::Success), false).unwrap();
    let row = w.row.unwrap();
    assert_eq!((row.lock_pid, row.identity.unwrap().pid), (Some(100), 100));
}

#[test]
fn the_write_names_what_it_may_change() {
    let w = running();
    let (write, _) =
        report(&key(), w.row.as_ref(), None, &says(Status::Success), false, &w.rules, w.now)
            .unwrap();
    let Write::Update { basis, flip: true, .. } = write else { panic!("{write:?}") };
    assert_eq!((basis.run, basis.status), (1, Status::InProgress));
}
