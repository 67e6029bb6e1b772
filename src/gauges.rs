//! Figures of the loops, kept nowhere else: written by the loops, read by `/metrics` and by whoever tells the service
//! manager that they turn.

mod alerts;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::domain::{Now, Timestamp, Uptime};

pub use alerts::{Sender, Senders, Waiting};

/// A loop that has nothing to do turns at least this often all the same.
pub const TURNS_WITHIN: Duration = Duration::from_secs(5);

/// What a lag is remembered for, milliseconds: a scrape a minute misses none.
const REMEMBERED_MS: i64 = 60_000;

/// A loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loop {
    /// The node reconciler.
    Nodes,
    /// The migration reconciler.
    Migrations,
}

impl Loop {
    /// Both, in the order of their declaration.
    pub const ALL: [Self; 2] = [Self::Nodes, Self::Migrations];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Migrations => "migrations",
        }
    }
}

/// Something that is waited in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Checks under way.
    Checks,
    /// Of these, checks of nodes that timed out last time.
    SlowLane,
    /// Checks that are due and wait for a place.
    ChecksWaiting,
    /// Verdicts that are not on record yet.
    Unrecorded,
    /// Migrations and files that are to be looked at before the next look at everything.
    Hints,
}

impl Queue {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Checks, Self::SlowLane, Self::ChecksWaiting, Self::Unrecorded, Self::Hints];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::SlowLane => "slow_lane",
            Self::ChecksWaiting => "checks_waiting",
            Self::Unrecorded => "unrecorded",
            Self::Hints => "hints",
        }
    }
}

/// The figures; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gauges(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Timestamp,
    loops: [Turning; Loop::ALL.len()],
    queues: [AtomicU64; Queue::ALL.len()],
    store_errors: AtomicU64,
    alerts: Senders,
}

/// Of one loop.
#[derive(Debug, Default)]
struct Turning {
    /// On `CLOCK_BOOTTIME`, milliseconds; 0 before its first turn.
    turned: AtomicI64,
    lag: Peak,
    tick_ms: AtomicU64,
    ticks: AtomicU64,
}

/// The largest value of this minute and of the one before. One task writes it.
#[derive(Debug, Default)]
struct Peak {
    minute: AtomicI64,
    current: AtomicU64,
    before: AtomicU64,
}

impl Peak {
    fn note(&self, value: u64, at: Uptime) {
        let (minute, held) = (at.0 / REMEMBERED_MS, self.minute.load(Ordering::Relaxed));
        if minute != held {
            let last = self.current.swap(0, Ordering::Relaxed);
            self.before.store(if minute == held + 1 { last } else { 0 }, Ordering::Relaxed);
            self.minute.store(minute, Ordering::Relaxed);
        }
        self.current.fetch_max(value, Ordering::Relaxed);
    }

    fn at(&self, now: Uptime) -> u64 {
        let (current, before) =
            (self.current.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed));
        match now.0 / REMEMBERED_MS - self.minute.load(Ordering::Relaxed) {
            0 => current.max(before),
            1 => current,
            _ => 0,
        }
    }
}

impl Default for Gauges {
    fn default() -> Self {
        Self(Arc::new(Inner {
            started: clock::now().wall,
            loops: Default::default(),
            queues: Default::default(),
            store_errors: AtomicU64::new(0),
            alerts: Senders::default(),
        }))
    }
}

impl Gauges {
    /// When this process began its work.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.0.started
    }

    /// This loop turns.
    pub fn turn(&self, it: Loop) {
        self.of(it).turned.store(clock::uptime().0, Ordering::Relaxed);
    }

    /// It came so late to something that was due.
    pub fn late(&self, it: Loop, by: Duration) {
        self.of(it).lag.note(millis(by), clock::uptime());
    }

    /// It ended a tick that took so long.
    pub fn tick(&self, it: Loop, took: Duration) {
        self.of(it).tick_ms.store(millis(took), Ordering::Relaxed);
        self.of(it).ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// So many wait there.
    pub fn queue(&self, queue: Queue, length: usize) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.0.queues[queue as usize].store(length, Ordering::Relaxed);
    }

    /// The database failed at what a loop asked of it.
    pub fn store_failed(&self) {
        self.0.store_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// When it turned last; none before its first turn.
    #[must_use]
    pub fn turned(&self, it: Loop) -> Option<Uptime> {
        let turned = self.of(it).turned.load(Ordering::Relaxed);
        (turned != 0).then_some(Uptime(turned))
    }

    /// The largest lag of the last one or two minutes, milliseconds; or for how long it should have turned and did not.
    #[must_use]
    pub fn lag_ms(&self, it: Loop, now: Now) -> u64 {
        let stands = self.turned(it).map_or(Duration::ZERO, |turned| now.up.since(turned));
        self.of(it).lag.at(now.up).max(millis(stands.saturating_sub(TURNS_WITHIN)))
    }

    /// How long its last tick took, milliseconds.
    #[must_use]
    pub fn tick_ms(&self, it: Loop) -> u64 {
        self.of(it).tick_ms.load(Ordering::Relaxed)
    }

    /// Ticks that it ended.
    #[must_use]
    pub fn ticks(&self, it: Loop) -> u64 {
        self.of(it).ticks.load(Ordering::Relaxed)
    }

    /// How many wait there, as its loop saw it last.
    #[must_use]
    pub fn length(&self, queue: Queue) -> u64 {
        self.0.queues[queue as usize].load(Ordering::Relaxed)
    }

    /// How often the database failed at what the loops asked of it.
    #[must_use]
    pub fn store_errors(&self) -> u64 {
        self.0.store_errors.load(Ordering::Relaxed)
    }

    /// How it stands with the sending of alerts.
    #[must_use]
    pub fn alerts(&self) -> &Senders {
        &self.0.alerts
    }

    fn of(&self, it: Loop) -> &Turning {
        &self.0.loops[it as usize]
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_remembered_over_the_turn_of_a_minute_and_no_longer() {
        let peak = Peak::default();
        peak.note(7, Uptime(130_000));
        peak.note(3, Uptime(140_000));
        assert_eq!([peak.at(Uptime(140_000)), peak.at(Uptime(180_000))], [7, 7]);
        assert_eq!(peak.at(Uptime(240_000)), 0);
        peak.note(2, Uptime(190_000));
        assert_eq!([peak.at(Uptime(190_000)), peak.at(Uptime(250_000))], [7, 2]);
        peak.note(1, Uptime(600_000));
        assert_eq!(peak.at(Uptime(600_000)), 1);
    }

    #[test]
    fn a_loop_that_stands_is_late_although_it_says_nothing() {
        let gauges = Gauges::default();
        let now = clock::now();
        let in_a_minute = Now { up: now.up.plus(Duration::from_mins(1)), ..now };
        assert_eq!(gauges.lag_ms(Loop::Nodes, in_a_minute), 0, "it has not begun");
        gauges.turn(Loop::Nodes);
        assert!(gauges.lag_ms(Loop::Nodes, in_a_minute) >= 54_000);
        assert_eq!(gauges.lag_ms(Loop::Migrations, in_a_minute), 0);
    }
}
