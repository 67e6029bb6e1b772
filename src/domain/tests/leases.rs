//! Heartbeats: who is live, when losses may be believed, and who may bear a name.

use std::time::Duration;

use crate::domain::fleet::{Heartbeat, NameRow, NameStep, Patience, live, name_step};
use crate::domain::time::Uptime;

const LEASE: Duration = Duration::from_millis(12_500);

#[test]
fn a_heartbeat_holds_until_it_expires_and_never_longer_than_a_lease() {
    let beat = |name, expires_at| Heartbeat { name, expires_at, lease_ms: 12_500 };
    let rows = [
        beat("d", 112_501),
        beat("c", 112_500),
        beat("b", 100_001),
        beat("a", 100_000),
        beat("z", 0),
        beat("y", i64::MAX),
        beat("x", i64::MIN),
    ];
    assert_eq!(live(rows, 100_000), ["b", "c"]);
    assert_eq!(live(rows, 100_001), ["c", "d"]);
    assert_eq!(live([], 100_000), [""; 0]);
}

#[test]
fn each_heartbeat_is_measured_by_the_lease_of_its_own_instance() {
    let beat = |name, lease_ms| Heartbeat { name, expires_at: 20_000, lease_ms };
    assert_eq!(live([beat("slow", 30_000), beat("quick", 5_000)], 0), ["slow"]);
}

#[test]
fn losses_are_believed_once_our_own_heartbeats_got_through_for_a_lease() {
    let mut patience = Patience::new(LEASE);
    assert!(!patience.may_judge(Uptime(1_000_000)), "never");
    for at in [0, 5_000, 10_000] {
        patience.beat_ok(Uptime(at));
        assert!(!patience.may_judge(Uptime(at)), "{at}");
    }
    assert!(!patience.may_judge(Uptime(12_499)));
    assert!(patience.may_judge(Uptime(12_500)));
    patience.beat_ok(Uptime(15_000));
    assert!(patience.may_judge(Uptime(20_000)));
}

#[test]
fn an_outage_restarts_the_wait() {
    let mut patience = Patience::new(LEASE);
    for at in [0, 5_000, 10_000, 15_000] {
        patience.beat_ok(Uptime(at));
    }
    assert!(patience.may_judge(Uptime(15_000)));
    patience.trouble();
    assert!(!patience.may_judge(Uptime(15_001)));
    for at in [20_000, 25_000, 30_000] {
        patience.beat_ok(Uptime(at));
        assert!(!patience.may_judge(Uptime(at)), "{at}");
    }
    patience.beat_ok(Uptime(32_500));
    assert!(patience.may_judge(Uptime(32_500)));
}

#[test]
fn a_pause_that_nobody_called_an_outage_restarts_it_too() {
    let mut patience = Patience::new(LEASE);
    for at in [0, 5_000, 10_000, 15_000] {
        patience.beat_ok(Uptime(at));
    }
    assert!(patience.may_judge(Uptime(27_499)));
    assert!(!patience.may_judge(Uptime(27_500)), "the last heartbeat is a lease ago");
    patience.beat_ok(Uptime(27_500));
    assert!(!patience.may_judge(Uptime(27_500)));
    patience.beat_ok(Uptime(35_000));
    patience.beat_ok(Uptime(40_000));
    assert!(patience.may_judge(Uptime(40_000)));
}

#[test]
fn a_name_is_taken_from_the_dead_at_once_from_the_silent_later_and_never_from_the_living() {
    type Edit = fn(&mut NameRow);
    let cases: &[(&str, Edit, NameStep)] = &[
        ("it may live", |_| (), NameStep::Wait),
        ("expired", |r| r.expires_at = 100_000, NameStep::Take),
        ("about to expire", |r| r.expires_at = 100_001, NameStep::Wait),
        ("renewed while we looked", |r| r.last_beat += 1, NameStep::Refuse),
        (
            "renewed, then expired",
            |r| (r.last_beat, r.expires_at) = (98_000, 99_000),
            NameStep::Take,
        ),
        ("dead here", |r| (r.same_host, r.holder_dead) = (true, Some(true)), NameStep::Take),
        (
            "renewed while we looked, and dead by now",
            |r| (r.same_host, r.holder_dead, r.last_beat) = (true, Some(true), 98_000),
            NameStep::Take,
        ),
        ("alive here", |r| (r.same_host, r.holder_dead) = (true, Some(false)), NameStep::Wait),
        ("not to be told", |r| r.same_host = true, NameStep::Wait),
        ("a PID of another host proves nothing", |r| r.holder_dead = Some(true), NameStep::Wait),
        (
            "of a clock that was ahead",
            |r| (r.expires_at, r.waited_ms) = (9_000_000, 12_500),
            NameStep::Wait,
        ),
        (
            "of a clock that was ahead, silent for a lease",
            |r| (r.expires_at, r.waited_ms) = (9_000_000, 12_501),
            NameStep::Take,
        ),
    ];
    for (name, edit, expected) in cases {
        let mut row = NameRow {
            expires_at: 108_000,
            beats_seen_first: 95_500,
            last_beat: 95_500,
            lease_ms: 12_500,
            waited_ms: 0,
            same_host: false,
            holder_dead: None,
        };
        edit(&mut row);
        assert_eq!(name_step(&row, 100_000), *expected, "{name}");
    }
}
