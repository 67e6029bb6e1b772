//! Ten minutes in which nobody looked: the machine slept, or we were stopped. Clocks are made up.

use std::time::Duration;

use super::verdict::node;
use super::world::World;
use crate::domain::observation::{ApiFacts, ApiSeen, Observation};
use crate::domain::time::{Now, Timestamp, Uptime};
use crate::domain::verdict::{State, Thresholds, Verdict, evaluate, window};

const TEN_MINUTES: i64 = 600;

fn look(seen: ApiSeen) -> Observation {
    let latency = None;
    Observation::Api(ApiFacts { url: "".into(), seen, latency, unreadable: None, silence: None })
}

fn at(secs: i64) -> Now {
    Now { wall: Timestamp::from_secs(1_800_000_000 + secs), up: Uptime(secs * 1000) }
}

fn next(previous: &Verdict, seen: ApiSeen, now: Now) -> Verdict {
    evaluate(&node(), previous, &look(seen), Thresholds::default(), now)
}

#[test]
fn a_node_is_stale_meanwhile_and_nothing_has_turned_afterwards() {
    let w = window(
        Duration::from_secs(30),
        Duration::from_secs(1),
        Duration::from_secs(1),
        Duration::from_secs(3),
    );
    let before = next(&Verdict::default(), ApiSeen::Version(1), at(0));
    let woken = at(TEN_MINUTES);
    assert_eq!(
        before.state_at(woken.up, w),
        State::Stale,
        "never down, and never up by an old look"
    );
    let after = next(&before, ApiSeen::Version(1), woken);
    assert!(!after.flipped_from(&before));
    assert_eq!((after.state, after.since), (State::Up, before.since));
    // The same after a wall clock that was set while it slept.
    for hours in [-48, 48] {
        let wall = Timestamp(woken.wall.0 + hours * 3_600_000);
        let after = next(&before, ApiSeen::Version(1), Now { wall, up: woken.up });
        assert!(!after.flipped_from(&before), "{hours}");
        assert_eq!(after.state_at(woken.up, w), State::Up, "{hours}");
    }
}

#[test]
fn a_migration_that_lives_is_alive_afterwards() {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    assert_eq!(w.look(), "in_progress alive - - run1 keep - insert");
    for _ in 0..3 {
        w.pass(TEN_MINUTES);
        assert_eq!(w.look(), "in_progress alive - - run1 keep - quiet");
    }
}

#[test]
fn a_death_before_the_sleep_is_looked_at_once_more_and_one_that_was_none_is_not_judged() {
    let mut w = World::new();
    w.spawn(100);
    w.lock(100, 0);
    w.look();
    w.procs.remove(&100);
    assert_eq!(w.look(), "in_progress waiting process_gone - run1 keep +5s write");
    // It was started again while we slept, with another PID in the lock.
    w.pass(TEN_MINUTES);
    w.spawn(101);
    w.lock(101, 0);
    assert!(w.look().starts_with("in_progress alive"), "a new process in the lock");
}
