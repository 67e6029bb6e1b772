//! Flips as they are told to the listeners: from the rows of the events, and only from those, so that nothing is told
//! that is not on record.
//!
//! Each instance's numbers follow its commits, so a cursor per instance sees each event once and in order. Without
//! listeners nothing is read; the first one hears what is committed from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cursor::Cursor as Place;
use super::{Committed, Hub, News, Subject};
use crate::domain::Timestamp;
use crate::store::{RecordedEvent, Store, StoreError};

/// How often the instances' numbers are read while somebody listens: other instances' commits do not wake us. As often as
/// the fleet is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Events read at once: a statement's round trip does not count any more, and a page is under a megabyte.
const PAGE: i64 = 1000;

/// How long an instance's number may be below what was told: a server of a cluster may lag that long behind another. After
/// that the database is one that lacks the last writes, and the numbers are given again.
const LAG: Duration = Duration::from_secs(10);

/// Where one instance's events are.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// The last event that was told.
    told: i64,
    /// The instance's number for which its events were read to their end: nothing is read again before it moves.
    looked: i64,
    /// The number for which they were read once. A server of a cluster may lag behind the one that gave the number, so
    /// they are read once more at the next turn.
    once: i64,
    /// Since when its number is below `told`, and the lowest that was seen.
    back: Option<(Instant, i64)>,
}

impl Cursor {
    const fn at(seq: i64) -> Self {
        Self { told: seq, looked: seq, once: seq, back: None }
    }

    /// Its events were read up to this number, as far as the server had them.
    fn read_to(&mut self, seq: i64) {
        if self.once == seq {
            self.looked = seq;
        }
        self.once = seq;
    }

    /// Takes note of the instance's number; false while it is one that tells nothing.
    fn note(&mut self, seq: i64, now: Instant) -> bool {
        if seq >= self.told {
            self.back = None;
            return true;
        }
        let (since, lowest) = self.back.unwrap_or((now, seq));
        let lowest = lowest.min(seq);
        if now.duration_since(since) < LAG {
            self.back = Some((since, lowest));
            return false;
        }
        *self = Self::at(lowest);
        true
    }
}

/// Tells all flips that are committed, by whichever instance, while somebody listens; until the token is cancelled.
pub async fn follow(store: Store, hub: Hub, token: CancellationToken) {
    let mut follower =
        Follower { store, hub, cursors: None, began: Timestamp::default(), failed: false };
    loop {
        let listening = follower.hub.has_listeners();
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = follower.hub.commits() => {}
            () = tokio::time::sleep(LOOK), if listening => {}
        }
        tokio::select! {
            () = token.cancelled() => return,
            () = follower.turn() => {}
        }
    }
}

#[derive(Debug)]
struct Follower {
    store: Store,
    hub: Hub,
    /// None: nobody listens.
    cursors: Option<BTreeMap<String, Cursor>>,
    /// Since when it is followed: an instance that comes later is told from here on.
    began: Timestamp,
    failed: bool,
}

impl Follower {
    async fn turn(&mut self) {
        if !self.hub.has_listeners() {
            self.cursors = None;
            return;
        }
        match self.read().await {
            Ok(()) if self.failed => {
                tracing::info!("events can be read again");
                self.failed = false;
            }
            Err(error) if !self.failed => {
                tracing::warn!(error = error.chain(), "the events cannot be read; trying again");
                self.failed = true;
            }
            _ => {}
        }
    }

    /// What was told before a failure is not told again: each cursor moves with what is told.
    async fn read(&mut self) -> Result<(), StoreError> {
        let numbers = self.store.instance_seqs().await?;
        let begun = *self.hub.inner.following.borrow();
        let Some(mut cursors) = self.cursors.take().filter(|_| begun) else {
            self.began = crate::clock::now().wall;
            let at = |(name, seq): (String, i64)| (name, Cursor::at(seq));
            self.cursors = Some(numbers.into_iter().map(at).collect());
            self.hub.inner.following.send_replace(true);
            return Ok(());
        };
        let mut result = Ok(());
        // Of those that were forgotten nobody asks again.
        let told = |(name, _): &(String, i64)| Some((name.clone(), cursors.get(name)?.told));
        let told = numbers.iter().filter_map(told).collect();
        let mut place = Place { told, at: self.began };
        for (name, seq) in numbers {
            result = self.read_one(&mut cursors, &mut place, &name, seq).await;
            if result.is_err() {
                break;
            }
        }
        self.cursors = Some(cursors);
        result
    }

    async fn read_one(
        &self,
        cursors: &mut BTreeMap<String, Cursor>,
        place: &mut Place,
        name: &str,
        seq: i64,
    ) -> Result<(), StoreError> {
        if !cursors.contains_key(name) {
            let told = self.store.last_event_before(name, self.began).await?;
            cursors.insert(name.to_owned(), Cursor::at(told));
            place.told.insert(name.to_owned(), told);
        }
        let Some(cursor) = cursors.get_mut(name) else { return Ok(()) };
        if !cursor.note(seq, Instant::now()) {
            return Ok(());
        }
        while cursor.looked < seq {
            let page = self.store.events_after(name, cursor.told, PAGE).await?;
            let more = i64::try_from(page.len()).is_ok_and(|read| read == PAGE);
            for event in page {
                cursor.told = event.event.seq;
                if let Some(news) = news(event, place) {
                    self.hub.tell(news);
                }
            }
            if !more {
                cursor.read_to(seq);
                break;
            }
        }
        Ok(())
    }
}

/// An event as it is told to one who stood there; the place moves.
pub(super) fn news(recorded: RecordedEvent, place: &mut Place) -> Option<News> {
    let RecordedEvent { event, brz_project_id } = recorded;
    let at = Timestamp(event.at);
    place.move_to(&event.instance, event.seq, at);
    let subject = match event.kind.as_str() {
        "node" => Subject::Node { id: event.subject_id, name: event.name },
        // Rows are never removed, so its id is there.
        _ => Subject::Migration { id: brz_project_id?, mb_project_uuid: event.name },
    };
    Some(News {
        subject,
        state: event.state,
        reason: event.reason,
        at,
        committed: Some(Committed {
            place: place.text(&event.instance),
            instance: event.instance,
            seq: event.seq,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_lags_repeats_nothing_and_a_database_without_the_last_writes_begins_there() {
        let start = Instant::now();
        let mut cursor = Cursor { told: 10, looked: 12, once: 12, back: None };
        assert!(cursor.note(12, start));
        assert!(!cursor.note(8, start), "it lags");
        assert!(cursor.note(13, start), "it has caught up");
        assert_eq!(cursor.told, 10, "nothing is told again");
        assert!(!cursor.note(7, start));
        assert!(!cursor.note(9, start + LAG / 2));
        assert!(cursor.note(9, start + LAG));
        assert_eq!((cursor.told, cursor.looked), (7, 7), "from where the numbers are given again");
    }

    #[test]
    fn a_number_is_read_for_twice_and_then_no_more() {
        let mut cursor = Cursor::at(5);
        cursor.read_to(8);
        assert_eq!(cursor.looked, 5, "the server that was read may have lagged");
        cursor.read_to(9);
        assert_eq!(cursor.looked, 5);
        cursor.read_to(9);
        assert_eq!(cursor.looked, 9);
    }
}
