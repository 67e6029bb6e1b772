//! How long a node was up in a period: from its turns, and from when somebody watched.

use std::time::Duration;

use super::time::Timestamp;
use super::verdict::State;

/// A period, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Share {
    /// Watched, and up.
    pub up: Duration,
    /// Watched, and down.
    pub down: Duration,
    /// Nobody watched, or it could not be told: neither up nor down.
    pub unknown: Duration,
}

/// Takes the time from `from` to `to` apart. `turns` are its states, oldest first, each from its moment on; `watched` are the
/// times in which somebody watched, in any order, also overlapping.
#[must_use]
pub fn uptime(
    turns: &[(Timestamp, State)],
    watched: &[(Timestamp, Timestamp)],
    from: Timestamp,
    to: Timestamp,
) -> Share {
    let watched = merged(watched, from, to);
    let mut share = Share::default();
    for (nth, (at, state)) in turns.iter().enumerate() {
        let end = turns.get(nth + 1).map_or(to, |(at, _)| *at);
        let time = overlap(&watched, *at, end);
        match state {
            State::Up => share.up += time,
            State::Down => share.down += time,
            State::Unknown | State::Stale | State::Disabled => {}
        }
    }
    share.unknown = to.since(from).saturating_sub(share.up + share.down);
    share
}

/// The same times within the period, in their order and apart from each other.
fn merged(
    watched: &[(Timestamp, Timestamp)],
    from: Timestamp,
    to: Timestamp,
) -> Vec<(Timestamp, Timestamp)> {
    let within = watched.iter().map(|(since, until)| ((*since).max(from), (*until).min(to)));
    let mut spans: Vec<_> = within.filter(|(since, until)| since < until).collect();
    spans.sort_unstable();
    spans.dedup_by(|next, before| {
        let joins = next.0 <= before.1;
        if joins {
            before.1 = before.1.max(next.1);
        }
        joins
    });
    spans
}

/// How much of the time from `from` to `to` is in these.
fn overlap(spans: &[(Timestamp, Timestamp)], from: Timestamp, to: Timestamp) -> Duration {
    let first = spans.partition_point(|(_, until)| *until <= from);
    let near = spans.iter().skip(first).take_while(|(since, _)| *since < to);
    near.map(|(since, until)| (*until).min(to).since((*since).max(from))).sum()
}
