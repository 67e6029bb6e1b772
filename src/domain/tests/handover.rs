//! Two instances, one row: they come to rest, and what one does through the other tells nothing else.

use super::fleet::{Pair, running};
use super::world::{DIR, OTHER_DIR, says};
use crate::domain::migration::{State, Status};
use crate::domain::reconcile::{Scope, Write};

#[test]
fn two_instances_come_to_rest_over_one_lock() {
    for (on_a, on_b) in [(false, false), (true, false), (false, true)] {
        for first in ["a", "b"] {
            let mut pair = Pair::new();
            if on_a {
                pair.a.spawn(100);
            }
            if on_b {
                pair.b.spawn(100);
            }
            pair.lock(100);
            let second = if first == "a" { "b" } else { "a" };
            for name in [first, second, first, second] {
                pair.look(name);
            }
            let rest = pair.row.clone();
            for name in [first, second, first, second, second, first, first] {
                assert!(pair.look(name).contains(" quiet"), "{on_a} {on_b} {first} {name}");
            }
            assert_eq!(rest, pair.row);
            let row = pair.row();
            let expected = if on_a || on_b { State::Alive } else { State::Foreign };
            assert_eq!(row.state, expected);
            let owner = if on_a {
                "a"
            } else if on_b {
                "b"
            } else {
                first
            };
            assert_eq!((row.instance.as_str(), row.run), (owner, 1));
        }
    }
}

#[test]
fn what_was_judged_before_a_row_changed_hands_is_not_written() {
    let mut pair = Pair::local();
    pair.b.lock(200, 9000);
    pair.look("b");
    pair.pass(5);
    pair.b.row.clone_from(&pair.row);
    let judged = pair.b.decide();
    let Write::Update { row, .. } = &judged.write else { panic!("{:?}", judged.write) };
    assert_eq!((row.status, row.instance.as_str()), (Status::Error, "b"));
    pair.a.spawn(100);
    pair.a.lock(100, 0);
    assert_eq!(pair.look("a"), "in_progress alive - - run1 keep - write, a");
    pair.b.row.clone_from(&pair.row);
    assert!(!pair.b.store(&judged.write));
}

#[test]
fn a_report_to_another_instance_ends_the_run_and_tells_nothing_else() {
    for scope in [Scope::Local, Scope::Shared] {
        let mut pair = running();
        pair.b.rules.scope = scope;
        pair.b.spawn(200);
        pair.b.lock(200, 0);
        pair.b.row.clone_from(&pair.row);
        assert_eq!(pair.b.patch(&says(Status::Success), false), Ok(true));
        let (before, after) = (pair.row().clone(), pair.b.row.clone().unwrap());
        assert_eq!(after.status, Status::Success);
        assert_eq!((&after.instance, &after.host_id), (&before.instance, &before.host_id));
        assert_eq!((after.lock_pid, after.identity), (before.lock_pid, before.identity));
        assert_eq!(after.run, 1);
    }
}

#[test]
fn a_lock_taken_through_another_instance_waits_for_its_own_ones_word() {
    let mut pair = running();
    pair.b.row.clone_from(&pair.row);
    pair.b.dir = Some(OTHER_DIR);
    pair.b.take();
    pair.row.clone_from(&pair.b.row);
    pair.a.unlock();
    assert_eq!(pair.row().dir, Some(DIR));
    assert_eq!(pair.look("b"), "in_progress alive lock_removed - run1 keep - quiet, a");
    assert_eq!(pair.look("a"), "in_progress alive lock_removed - run1 keep - quiet, a");
    pair.a.kill(100);
    pair.look("a");
    pair.pass(5);
    assert_eq!(pair.look("a"), "error finished lock_removed operator run1 keep - flip, a");

    // The lock of an attempt that the row is not about.
    let mut pair = running();
    pair.b.lock(200, 0);
    pair.b.row.clone_from(&pair.row);
    pair.b.take();
    assert_eq!(pair.b.row, pair.row);
}
