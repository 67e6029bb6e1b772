//! One look at one lock: what counts as alive, dead, foreign and unknown.

use super::world::{Case, case};
use crate::domain::migration::LockPid;
use crate::domain::process::{OtherNamespaces, Unknowable};
use crate::domain::reconcile::{LockSight, Scope};

const ALIVE: &str = "in_progress alive - - run1 keep - insert";
const WAITING: &str = "in_progress waiting process_gone - run1 keep +5s insert";
const GONE: &str = "in_progress gone process_gone - run1 keep +5s insert";
const REUSED: &str = "in_progress waiting pid_reused - run1 keep +5s insert";
const NO_PID: &str = "in_progress unknown no_pid - run1 keep - insert";
const NAMESPACE: &str = "in_progress unknown pid_namespace - run1 keep - insert";
const FOREIGN: &str = "in_progress foreign - - run1 keep - insert";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_first_sight_inserts_and_judges_nothing() {
    let cases: &[Case] = &[
        ("alive", |w| (w.spawn(100), w.lock(100, 0)).1, ALIVE),
        (
            "alive, its lock long past the grace",
            |w| (w.spawn_ago(100, 9000), w.lock(100, 9000)).1,
            ALIVE,
        ),
        (
            "stopped is alive",
            |w| {
                w.spawn(100);
                w.proc(100).stopped = true;
                w.lock(100, 0);
            },
            ALIVE,
        ),
        ("dead and young", |w| w.lock(100, 10), WAITING),
        ("dead, the age equal to the grace", |w| w.lock(100, 600), WAITING),
        ("dead, over the grace by a millisecond", |w| (w.lock(100, 600), w.pass_ms(1)).1, GONE),
        ("dead and old", |w| w.lock(100, 601), GONE),
        (
            "zombie",
            |w| {
                w.spawn(100);
                w.proc(100).zombie = true;
                w.lock(100, 0);
            },
            "in_progress waiting process_zombie - run1 keep +5s insert",
        ),
        (
            "age by mtime where no start is told",
            |w| {
                w.lock_of(LockPid::Number(100), None, 601);
            },
            GONE,
        ),
        (
            "age by the start, not by a late mtime",
            |w| {
                w.lock_of(LockPid::Number(100), Some(601), 1);
            },
            GONE,
        ),
        (
            "age by mtime where the start lies in the future",
            |w| {
                w.lock_of(LockPid::Number(100), Some(-3600), 10);
            },
            WAITING,
        ),
        (
            "a start in the future and an old mtime",
            |w| {
                w.lock_of(LockPid::Number(100), Some(-3600), 601);
            },
            GONE,
        ),
        (
            "both in the future: no age at all",
            |w| {
                w.lock_of(LockPid::Number(100), Some(-3600), -3600);
            },
            WAITING,
        ),
        ("half-written", |w| w.lock_of(LockPid::Missing, None, 0), ALIVE),
        ("without a PID, just under 300 s", |w| w.lock_of(LockPid::Missing, None, 299), ALIVE),
        ("without a PID for 300 s", |w| w.lock_of(LockPid::Missing, None, 300), NO_PID),
        (
            "without a PID: an old start counts for nothing",
            |w| {
                w.lock_of(LockPid::Missing, Some(9000), 10);
            },
            ALIVE,
        ),
        ("PID 0", |w| w.lock(0, 9000), NO_PID),
        ("a negative PID", |w| w.lock(-1, 9000), NO_PID),
        ("a PID over every pid_max", |w| w.lock(1 << 40, 9000), NO_PID),
        (
            "kernel thread",
            |w| {
                w.unknown = Some(Unknowable::KernelThread);
                w.lock(2, 9000);
            },
            NO_PID,
        ),
        (
            "thread id",
            |w| {
                w.unknown = Some(Unknowable::ThreadId);
                w.lock(100, 9000);
            },
            NO_PID,
        ),
        (
            "the kernel refused every way of asking",
            |w| {
                w.unknown = Some(Unknowable::Refused);
                w.lock(100, 9000);
            },
            NAMESPACE,
        ),
        ("unreadable", |w| w.lock = LockSight::Blocked, "no row keep - quiet"),
        ("no directory", |w| w.lock = LockSight::Blind, "no row keep - quiet"),
        ("no lock", |w| w.unlock(), "no row keep - quiet"),
    ];
    for (name, set, expected) in cases {
        case(name, |w| (set(w), w.look()).1, expected);
    }
}

#[test]
fn reuse_is_inferred_only_more_than_five_seconds_after_both() {
    // (started of the process, of the lock, mtime of the lock), in seconds ago.
    for (process, started, mtime, expected) in [
        (94, Some(100), 100, REUSED),
        (95, Some(100), 100, ALIVE),
        (94, Some(100), 99, ALIVE),
        (94, Some(99), 100, ALIVE),
        (10, Some(100), 100, REUSED),
        (10, Some(100), 12, ALIVE),
        (10, Some(12), 100, ALIVE),
        (94, None, 100, REUSED),
        (95, None, 100, ALIVE),
        (10, Some(-3600), 100, ALIVE),
        (200, Some(100), 100, ALIVE),
    ] {
        case(
            &format!("process {process}, lock {started:?}, mtime {mtime}"),
            |w| {
                w.spawn_ago(100, process);
                w.lock_of(LockPid::Number(100), started, mtime);
                w.look()
            },
            expected,
        );
    }
    case(
        "a hidden start proves nothing",
        |w| {
            w.spawn(100);
            w.proc(100).hidden = true;
            w.lock(100, 100);
            w.look()
        },
        ALIVE,
    );
}

#[test]
fn a_death_never_seen_alive_needs_a_local_scope_and_clear_namespaces() {
    let cases: &[Case] = &[
        (
            "a namesake elsewhere",
            |w| {
                w.elsewhere = OtherNamespaces::Namesake;
                w.lock(100, 9000);
            },
            NAMESPACE,
        ),
        (
            "the scan is not possible",
            |w| {
                w.elsewhere = OtherNamespaces::Hidden;
                w.lock(100, 9000);
            },
            NAMESPACE,
        ),
        (
            "an inferred reuse is no better",
            |w| {
                w.elsewhere = OtherNamespaces::Namesake;
                w.spawn(100);
                w.lock(100, 9000);
            },
            NAMESPACE,
        ),
        ("shared: dead", |w| (w.rules.scope = Scope::Shared, w.lock(100, 9000)).1, FOREIGN),
        (
            "shared: a stranger under its number",
            |w| {
                w.rules.scope = Scope::Shared;
                w.spawn(100);
                w.lock(100, 9000);
            },
            FOREIGN,
        ),
        (
            "shared: alive",
            |w| {
                w.rules.scope = Scope::Shared;
                w.spawn(100);
                w.lock(100, 0);
            },
            ALIVE,
        ),
        (
            "shared: the scan is not asked for",
            |w| {
                w.rules.scope = Scope::Shared;
                w.elsewhere = OtherNamespaces::Namesake;
                w.lock(100, 9000);
            },
            FOREIGN,
        ),
    ];
    for (name, set, expected) in cases {
        case(name, |w| (set(w), w.look()).1, expected);
    }
}

/// Seen alive first, then looked at again.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_recorded_identity_decides() {
    let cases: &[Case] = &[
        ("still there", |_| {}, "in_progress alive - - run1 keep - quiet"),
        ("gone", |w| w.kill(100), "in_progress waiting process_gone - run1 keep +5s write"),
        (
            "another one under the number, though it started at once",
            |w| {
                w.kill(100);
                w.spawn(100);
            },
            "in_progress waiting pid_reused - run1 keep +5s write",
        ),
        (
            "its start is hidden now: nothing comparable, so it lives",
            |w| {
                w.proc(100).hidden = true;
            },
            "in_progress alive - - run1 keep - quiet",
        ),
        (
            "progress written: not worth a row",
            |w| w.touch(),
            "in_progress alive - - run1 keep - quiet",
        ),
        ("another boot", |w| w.reboot(), "in_progress waiting rebooted - run1 keep +5s write"),
        (
            "another boot, and somebody has its number",
            |w| {
                w.reboot();
                w.spawn(100);
            },
            "in_progress waiting rebooted - run1 keep +5s write",
        ),
        (
            "another boot of this host proves it in a new namespace too",
            |w| {
                w.reboot();
                w.rules.here.pid_ns = 7;
            },
            "in_progress waiting rebooted - run1 keep +5s write",
        ),
        (
            "recorded in another namespace: as never seen, so the scan counts",
            |w| {
                w.rules.here.pid_ns = 7;
                w.elsewhere = OtherNamespaces::Namesake;
                w.kill(100);
            },
            "in_progress unknown pid_namespace - run1 keep - write",
        ),
        (
            "recorded in another namespace, shared",
            |w| {
                w.rules.here.pid_ns = 7;
                w.rules.scope = Scope::Shared;
                w.kill(100);
            },
            "in_progress foreign - - run1 keep - write",
        ),
        (
            "recorded on another host, shared",
            |w| {
                w.rules.here.host_id = "other".into();
                w.rules.scope = Scope::Shared;
                w.kill(100);
            },
            "in_progress foreign - - run1 keep - write",
        ),
        (
            "seen alive here: shared does not matter",
            |w| {
                w.rules.scope = Scope::Shared;
                w.kill(100);
            },
            "in_progress waiting process_gone - run1 keep +5s write",
        ),
        (
            "seen alive here: other namespaces do not matter",
            |w| {
                w.elsewhere = OtherNamespaces::Hidden;
                w.kill(100);
            },
            "in_progress waiting process_gone - run1 keep +5s write",
        ),
        (
            "no PID any more: the identity speaks, alive",
            |w| {
                w.lock_of(LockPid::Missing, None, 9000);
            },
            "in_progress alive - - run1 keep - quiet",
        ),
        (
            "no PID any more: the identity speaks, dead",
            |w| {
                w.kill(100);
                w.lock_of(LockPid::Missing, None, 10);
            },
            "in_progress waiting process_gone - run1 keep +5s write",
        ),
        (
            "a thread has its number: the process is gone",
            |w| {
                w.unknown = Some(Unknowable::ThreadId);
            },
            "in_progress waiting pid_reused - run1 keep +5s write",
        ),
        (
            "refused",
            |w| {
                w.unknown = Some(Unknowable::Refused);
            },
            "in_progress unknown pid_namespace - run1 keep - write",
        ),
        (
            "unreadable for a moment",
            |w| {
                w.kill(100);
                w.lock = LockSight::Blocked;
            },
            "in_progress alive - - run1 keep - quiet",
        ),
        (
            "no directory for a moment",
            |w| {
                w.kill(100);
                w.lock = LockSight::Blind;
            },
            "in_progress alive - - run1 keep - quiet",
        ),
    ];
    for (name, set, expected) in cases {
        case(
            name,
            |w| {
                w.spawn(100);
                w.lock(100, 0);
                w.look();
                w.pass(10);
                set(w);
                w.look()
            },
            expected,
        );
    }
}
