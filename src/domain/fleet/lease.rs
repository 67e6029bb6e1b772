//! Who lives, by heartbeat rows on the database's clock, and who may bear a name.

use std::time::Duration;

use crate::domain::time::Uptime;

/// An instance's heartbeat row; times in milliseconds since the Unix epoch on the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heartbeat<'a> {
    /// The instance.
    pub name: &'a str,
    /// Until when its last heartbeat holds.
    pub expires_at: i64,
    /// How long one holds, as that instance is configured.
    pub lease_ms: i64,
}

/// Sorted names of those that are live at `now`.
///
/// A row that holds for longer than a lease was written by a clock that ran ahead of this one (a server promoted in its
/// place may be behind): it proves nothing until it is renewed.
#[must_use]
pub fn live<'a>(rows: impl IntoIterator<Item = Heartbeat<'a>>, now: i64) -> Vec<&'a str> {
    let holds = |row: &Heartbeat<'_>| {
        let left = row.expires_at.saturating_sub(now);
        left > 0 && left <= row.lease_ms
    };
    let mut names: Vec<&str> = rows.into_iter().filter(holds).map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// May others be judged lost? Only once our own heartbeats have been getting through for a whole lease: after an outage
/// of the database everybody's lease has expired.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Patience {
    lease: Duration,
    /// The first and the last heartbeat of those that got through one after another.
    beats: Option<(Uptime, Uptime)>,
}

impl Patience {
    /// None has got through yet.
    #[must_use]
    pub const fn new(lease: Duration) -> Self {
        Self { lease, beats: None }
    }

    /// A heartbeat got through. One that comes a lease or more after the one before begins anew: who knows what stood
    /// still with us.
    pub fn beat_ok(&mut self, now: Uptime) {
        let since = self
            .beats
            .filter(|(_, last)| now.since(*last) < self.lease)
            .map_or(now, |(since, _)| since);
        self.beats = Some((since, now));
    }

    /// One did not get through: the wait begins anew.
    pub const fn trouble(&mut self) {
        self.beats = None;
    }

    /// True once heartbeats have got through for a lease or longer, the last one less than a lease ago.
    #[must_use]
    pub fn may_judge(&self, now: Uptime) -> bool {
        self.beats.is_some_and(|(since, last)| {
            now.since(since) >= self.lease && now.since(last) < self.lease
        })
    }
}

/// What a starting instance sees of the row that bears its name; times as in [`Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameRow {
    /// Until when its last heartbeat holds.
    pub expires_at: i64,
    /// Its last heartbeat at our first look.
    pub beats_seen_first: i64,
    /// Its last heartbeat now.
    pub last_beat: i64,
    /// How long a heartbeat of its holder holds.
    pub lease_ms: i64,
    /// How long it has been since our first look, on our own boot clock.
    pub waited_ms: i64,
    /// Machine id, boot id and PID namespace are all ours: the holder's PID means something here.
    pub same_host: bool,
    /// The recorded PID and start ticks are proven dead; `None` where that cannot be told.
    pub holder_dead: Option<bool>,
}

/// What a starting instance does about its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameStep {
    /// It is ours, by compare-and-set on that row.
    Take,
    /// Look again: the holder may be alive.
    Wait,
    /// The holder lives.
    Refuse,
}

/// The next step towards a name that a row bears already.
///
/// `now` is the database's clock. A row that holds for longer than a lease (its clock was another) is waited for a lease
/// long on our own clock.
#[must_use]
pub fn name_step(row: &NameRow, now: i64) -> NameStep {
    let expired = row.expires_at <= now;
    let dead = row.same_host && row.holder_dead == Some(true);
    if expired || dead {
        NameStep::Take
    } else if row.last_beat != row.beats_seen_first {
        NameStep::Refuse
    } else if row.waited_ms > row.lease_ms {
        NameStep::Take
    } else {
        NameStep::Wait
    }
}
