//! What became of a node or a migration: its turns in pages, and how long a node was up.

pub mod prune;

use std::fmt;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::domain::Timestamp;
use crate::domain::uptime::{Share, uptime};
use crate::domain::verdict::State;
use crate::store::{Event, Place, Store, StoreError};

/// Turns of a page where nobody says how many.
pub const PAGE: i64 = 100;

/// Turns of a page at most.
pub const LONGEST_PAGE: i64 = 1000;

/// The periods of which the uptime is told.
pub const PERIODS: [Duration; 3] =
    [Duration::from_hours(24), Duration::from_hours(7 * 24), Duration::from_hours(30 * 24)];

/// Something turned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The state before; none where that is not on record (any more).
    pub from: Option<String>,
    /// What it turned to.
    pub event: Event,
}

/// Turns, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for.
    pub turns: Vec<Turn>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// Whose history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A node, by its id.
    Node(i64),
    /// A migration, by the id of its row.
    Migration(i64),
}

/// A page of turns before a place, newest first.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn page(
    store: &Store,
    subject: Subject,
    before: Option<Place>,
    limit: i64,
) -> Result<Page, StoreError> {
    let (kind, id) = match subject {
        Subject::Node(id) => ("node", id),
        Subject::Migration(id) => ("migration", id),
    };
    let before = before.unwrap_or_else(Place::newest);
    let events = store.history(kind, id, &before, limit.saturating_add(1)).await?;
    let froms: Vec<_> = events.iter().skip(1).map(|event| event.state.clone()).collect();
    let count = events.len();
    let last = events.last().and_then(|event| event.was_state.clone());
    let froms = froms.into_iter().map(Some).chain([last]);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let turns: Vec<_> = events
        .into_iter()
        .zip(froms)
        .take(limit)
        .map(|(event, from)| Turn { from, event })
        .collect();
    let next = turns.last().filter(|_| count > limit).map(|turn| {
        let Event { at, seq, instance, .. } = &turn.event;
        PlaceText { at: *at, seq: *seq, instance }.to_string()
    });
    Ok(Page { turns, next })
}

/// `AT.SEQ.INSTANCE`.
struct PlaceText<'a> {
    at: i64,
    seq: i64,
    instance: &'a str,
}

impl fmt::Display for PlaceText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = utf8_percent_encode(self.instance, NON_ALPHANUMERIC);
        write!(f, "{}.{}.{instance}", self.at, self.seq)
    }
}

/// A place as [`Page::next`] gave it; none if it is none.
#[must_use]
pub fn place(text: &str) -> Option<Place> {
    let mut parts = text.splitn(3, '.');
    let at = parts.next()?.parse().ok()?;
    let seq = parts.next()?.parse().ok()?;
    // What is no UTF-8 is the name of no instance.
    let instance = percent_decode_str(parts.next()?).decode_utf8_lossy().into_owned();
    Some(Place { at, instance, seq })
}

/// How long a node was up in each of [`PERIODS`] until `now`. What is older than `retain` is not on record any more.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn uptimes(
    store: &Store,
    node: i64,
    retain: Duration,
    now: Timestamp,
) -> Result<[Share; 3], StoreError> {
    let begin = |period: Duration| Timestamp(now.0.saturating_sub(millis(period)));
    let kept = begin(retain);
    let longest = begin(PERIODS.into_iter().max().unwrap_or_default());
    let states = store.node_states(node, longest).await?;
    let turns: Vec<_> =
        states.into_iter().map(|(at, state)| (Timestamp(at), State::parse(&state))).collect();
    let mut watched: Vec<_> = store
        .watches(longest)
        .await?
        .into_iter()
        .map(|(since, until)| (Timestamp(since).max(kept), Timestamp(until)))
        .collect();
    watched.extend(still_watched(store, &watched, now).await?);
    Ok(PERIODS.map(|period| uptime(&turns, &watched, begin(period), now)))
}

/// What was seen last still holds while one that is live has looked within its window.
async fn still_watched(
    store: &Store,
    watched: &[(Timestamp, Timestamp)],
    now: Timestamp,
) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let Some(last) = watched.iter().map(|(_, until)| *until).max() else { return Ok(None) };
    let fleet = store.fleet().await?;
    let live = fleet.instances.iter().filter(|it| it.is_live(fleet.now));
    let window = live.map(|it| it.window_ms).max().unwrap_or(0);
    Ok((millis(now.since(last)) <= window).then_some((last, now)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was() {
        let text = PlaceText { at: 5, seq: 7, instance: "a.b %я" }.to_string();
        let expected = Place { at: 5, seq: 7, instance: "a.b %я".to_owned() };
        assert_eq!(place(&text), Some(expected));
        for text in ["", "5", "5.7", "x.7.a", "5.x.a"] {
            assert_eq!(place(text), None, "{text}");
        }
        let nobody = Place { at: 5, seq: 7, instance: "\u{fffd}".to_owned() };
        assert_eq!(place("5.7.%ff"), Some(nobody));
    }
}
