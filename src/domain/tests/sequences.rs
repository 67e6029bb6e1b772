//! Looks in a row: death, grace, second look, the removal of the lock.

use std::time::Duration;

use super::world::{Deed, OTHER_DIR, World, says};
use crate::domain::migration::{LockPid, Status};
use crate::domain::process::{DeathProof, Exit, OtherNamespaces, Unknowable};
use crate::domain::reconcile::{LockSight, Memory, Scope, Write};

/// A job that has just begun and was seen.
fn running() -> World {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    w.look();
    w
}

#[test]
fn alive_waiting_gone_error_removed() {
    let mut w = running();
    assert_eq!(w.look(), "in_progress alive - - run1 keep - quiet");
    w.pass(590);
    w.kill(100);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +5s write");
    w.pass(4);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +1s quiet");
    w.pass(1);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +5001ms write");
    assert_eq!(w.row.as_ref().unwrap().ended_at.unwrap().secs(), w.now.wall.secs() - 5);
    w.pass(5);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +1ms quiet");
    w.pass_ms(1);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    assert_eq!(w.look(), "error finished process_gone monitor run1 keep - quiet");
    assert_eq!(w.events, ["1:error"]);
    let error = w.row.unwrap().error.unwrap();
    assert_eq!(error, "Process 100 is gone; its lock is older than 600 s");
}

#[test]
fn an_old_lock_is_an_error_at_the_second_look_and_not_before() {
    let mut w = World::new();
    w.lock(100, 9000);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +5s insert");
    w.pass_ms(4999);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +1ms quiet");
    w.pass_ms(1);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
}

#[test]
fn two_looks_are_two_even_without_time_between() {
    let mut w = World::new();
    w.rules.settle = Duration::ZERO;
    w.lock(100, 9000);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +0s insert");
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    let mut w = running();
    w.rules.settle = Duration::ZERO;
    w.unlock();
    assert_eq!(w.look(), "in_progress alive - - run1 keep +0s quiet");
    assert_eq!(w.look(), "completed finished - lock_released run1 keep - flip");
}

/// Or the error would be a first row, and a first row has no event.
#[test]
fn a_first_row_is_unfinished_even_when_the_database_was_away_for_two_looks() {
    let mut w = World::new();
    w.lock(100, 9000);
    w.memory = w.decide().memory;
    w.pass(60);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +-55s insert");
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
}

#[test]
fn only_the_boot_clock_measures_the_settle_time() {
    let mut w = World::new();
    w.lock(100, 9000);
    w.look();
    w.step_wall(3600);
    w.pass(1);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +4s quiet");
    w.step_wall(-7200);
    w.pass(4);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
}

#[test]
fn a_clock_set_back_behind_the_lock_waits_for_its_mtime() {
    let mut w = World::new();
    w.lock(100, 601);
    w.step_wall(-3600);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +5s insert");
    w.pass(5);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +600001ms write");
}

#[test]
fn a_live_process_is_never_judged_by_age_or_by_a_clock_that_steps() {
    let mut w = running();
    for _ in 0..50 {
        w.step_wall(if w.now.up.0 % 2 == 0 { 86_400 } else { -86_399 });
        w.pass_ms(100_001);
        assert_eq!(w.look(), "in_progress alive - - run1 keep - quiet");
    }
}

#[test]
fn a_look_that_is_not_dead_starts_the_count_again() {
    let interruptions: &[(&str, Deed, Deed)] = &[
        ("unknown", |w| w.unknown = Some(Unknowable::Refused), |w| w.unknown = None),
        (
            "hidden",
            |w| w.elsewhere = OtherNamespaces::Hidden,
            |w| w.elsewhere = OtherNamespaces::Clear,
        ),
        ("foreign", |w| w.rules.scope = Scope::Shared, |w| w.rules.scope = Scope::Local),
        ("restarted", World::restart, |_| {}),
    ];
    for (name, interrupt, resume) in interruptions {
        let mut w = World::new();
        w.lock(100, 9000);
        w.look();
        w.pass(4);
        interrupt(&mut w);
        w.look();
        resume(&mut w);
        w.pass(4);
        let line = w.look();
        assert!(line.starts_with("in_progress gone process_gone - run1 keep +"), "{name}: {line}");
    }
}

#[test]
fn an_unreadable_look_between_takes_nothing_back() {
    for between in [LockSight::Blocked, LockSight::Blind] {
        let mut w = World::new();
        w.lock(100, 9000);
        w.look();
        w.pass(3);
        let lock = std::mem::replace(&mut w.lock, between);
        assert_eq!(w.look(), "in_progress gone process_gone - run1 keep - quiet");
        w.lock = lock;
        w.pass(2);
        assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    }
}

#[test]
fn a_restart_between_the_two_looks_loses_no_death() {
    let mut w = World::new();
    w.lock(100, 595);
    w.look();
    w.pass(5);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +1ms write");
    w.restart();
    w.pass(1);
    assert_eq!(w.look(), "in_progress gone process_gone - run1 keep +5s write");
    w.pass(5);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    assert_eq!(w.events, ["1:error"]);
}

#[test]
fn a_crash_between_row_and_removal_is_finished_later_without_a_second_event() {
    let mut w = World::new();
    w.lock(100, 9000);
    w.look();
    w.pass(5);
    let lock = w.lock.clone();
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
    w.lock = lock;
    w.restart();
    assert_eq!(w.look(), "error finished process_gone monitor run1 keep +5s quiet");
    w.pass(5);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - quiet");
    assert_eq!(w.events, ["1:error"]);
}

#[test]
fn nobody_becomes_alive_under_a_number_whose_death_was_proven() {
    let mut w = World::new();
    w.lock(100, 10);
    w.look();
    w.pass(5);
    w.look();
    w.spawn(100);
    w.touch();
    assert_eq!(w.look(), "in_progress waiting pid_reused - run1 keep +585001ms write");
    w.kill(100);
    w.elsewhere = OtherNamespaces::Hidden;
    w.look();
    w.elsewhere = OtherNamespaces::Clear;
    w.spawn(100);
    assert_eq!(w.look(), "in_progress waiting pid_reused - run1 keep +5s write");
}

#[test]
fn how_it_ended_is_told_where_the_kernel_tells() {
    for (exit, reason, text) in [
        (Exit::Signal(9), "killed", "Process 100 killed by SIGKILL; its lock is older than 600 s"),
        (Exit::Code(7), "exited", "Process 100 exited with code 7; its lock is older than 600 s"),
        (Exit::Code(0), "exited", "Process 100 exited with code 0; its lock is older than 600 s"),
    ] {
        let mut w = running();
        w.pass(601);
        w.kill(100);
        w.exit = Some(exit);
        assert_eq!(w.look(), format!("in_progress gone {reason} - run1 keep +5s write"));
        w.pass(5);
        assert_eq!(w.look(), format!("error finished {reason} monitor run1 remove - flip"));
        assert_eq!(w.row.unwrap().error.unwrap(), text);
    }
}

#[test]
fn a_zombie_is_dead_and_its_reaping_changes_the_word_only() {
    let mut w = running();
    w.pass(596);
    w.proc(100).zombie = true;
    assert_eq!(w.look(), "in_progress waiting process_zombie - run1 keep +5s write");
    w.kill(100);
    w.pass(5);
    assert_eq!(w.look(), "error finished process_gone monitor run1 remove - flip");
}

#[test]
fn without_a_pid_it_is_unknown_for_good_and_never_removed_by_age() {
    let mut w = World::new();
    w.lock_of(LockPid::Missing, None, 0);
    assert_eq!(w.look(), "in_progress alive - - run1 keep - insert");
    w.pass(300);
    assert_eq!(w.look(), "in_progress unknown no_pid - run1 keep - write");
    w.pass(86_400);
    assert_eq!(w.look(), "in_progress unknown no_pid - run1 keep - quiet");
    w.spawn(100);
    w.lock(100, 0);
    assert_eq!(w.look(), "in_progress alive - - run1 keep - write");
    w.kill(100);
    w.lock_of(LockPid::Missing, None, 0);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +5s write");
}

#[test]
fn since_is_the_last_change_of_state() {
    let mut w = running();
    let born = w.now.wall;
    w.pass(60);
    w.look();
    assert_eq!(w.row.as_ref().unwrap().since, born);
    w.kill(100);
    w.look();
    assert_eq!(w.row.as_ref().unwrap().since, w.now.wall);
    let waiting = w.now.wall;
    w.pass(5);
    w.look();
    assert_eq!(w.row.as_ref().unwrap().since, waiting);
    w.pass(600);
    w.look();
    let row = w.row.unwrap();
    assert_eq!((row.since, row.status_updated_at), (w.now.wall, Some(w.now.wall)));
}

#[test]
fn a_write_names_the_run_and_status_that_it_may_change_and_loses_to_a_faster_one() {
    let mut w = World::new();
    w.lock(100, 9000);
    w.look();
    w.pass(5);
    let judged = w.decide();
    let Write::Update { basis, .. } = &judged.write else { panic!("{:?}", judged.write) };
    assert_eq!((basis.run, basis.status), (1, Status::InProgress));
    // The runner reports between the look and the write.
    assert_eq!(w.patch(&says(Status::Success), false), Ok(true));
    assert!(!w.store(&judged.write));
    assert_eq!(w.events, ["1:success"]);
    assert_eq!(w.row_line(), "success finished reported runner run1");
}

#[test]
fn the_lock_moved_to_another_directory_is_still_a_lock() {
    let mut w = running();
    w.dir = Some(OTHER_DIR);
    assert_eq!(w.look(), "in_progress alive - - run1 keep - write");
    assert_eq!(w.row.unwrap().dir, Some(OTHER_DIR));
}

#[test]
fn the_explanation_names_each_condition_with_value_and_threshold() {
    let mut w = World::new();
    w.lock(100, 701);
    w.look();
    w.pass(41);
    let explained: Vec<_> = w
        .decide()
        .explain
        .into_iter()
        .map(|p| (p.name, p.value, p.threshold.unwrap_or_default(), p.holds))
        .collect();
    let row = |name, value: &str, threshold: &str, holds| {
        (name, value.to_owned(), threshold.to_owned(), holds)
    };
    assert_eq!(
        explained,
        [
            row("process_dead", DeathProof::NoSuchProcess.as_str(), "", true),
            row("seen_dead_for", "41s", "5s", true),
            row("lock_age", "742s", "600s", true),
            row("row_unfinished", "in_progress", "", true),
        ]
    );
    w.memory = Memory::default();
    let first = w.decide().explain;
    assert!(!first.iter().find(|p| p.name == "seen_dead_for").unwrap().holds);
}

#[test]
fn the_outcome_in_one_word() {
    let mut w = running();
    assert_eq!(w.decide().outcome.as_str(), "none");
    w.pass(601);
    w.kill(100);
    assert_eq!(w.decide().outcome.as_str(), "wait");
    w.look();
    w.pass(5);
    assert_eq!(w.decide().outcome.as_str(), "error");
    let mut w = running();
    w.unlock();
    assert_eq!(w.decide().outcome.as_str(), "wait");
    w.look();
    w.pass(5);
    assert_eq!(w.decide().outcome.as_str(), "completed");
}
