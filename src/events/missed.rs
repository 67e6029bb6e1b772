//! What a client missed that comes back with the place where it stood: read from the record, page by page.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::cursor::Cursor;
use super::flips::news;
use super::{Hub, News};
use crate::domain::Timestamp;
use crate::store::{Store, StoreError};

/// How long the first line waits until flips are followed and the numbers are read; without a database they are not.
const BEGIN: Duration = Duration::from_secs(1);

/// How old a place may be. What is older is told anew by the lists; events are kept longer than this.
const OLDEST: Duration = Duration::from_hours(24);

/// How many events are told again at most: reading the lists costs less than more.
const MOST: i64 = 10_000;

/// Events read at once.
const PAGE: i64 = 250;

/// How far the clocks of instances may differ.
const SKEW: Duration = Duration::from_mins(1);

/// Where the telling begins.
#[derive(Debug)]
pub enum Begin {
    /// With what happens from here on; none while the database gives no answer.
    Now(Option<Cursor>),
    /// With what was missed.
    Missed(Box<Missed>),
    /// As [`Self::Now`], and the client is to be told that it missed what cannot be told any more, and why.
    Reset(&'static str, Option<Cursor>),
}

/// What was missed.
#[derive(Debug)]
pub struct Missed {
    store: Store,
    cursor: Cursor,
    /// Which instances' events are still to be told, and up to which number.
    left: VecDeque<(String, i64)>,
    /// Up to where it goes.
    end: Cursor,
}

/// Where a listener begins that listens already: what is told from now on and follows this is no gap.
pub async fn begin(store: &Store, hub: &Hub, last: Option<&str>, now: Timestamp) -> Begin {
    let numbers = tokio::time::timeout(BEGIN, async {
        hub.followed().await;
        store.instance_seqs().await
    });
    let numbers: Option<BTreeMap<_, _>> =
        numbers.await.ok().and_then(Result::ok).map(|numbers| numbers.into_iter().collect());
    let here = numbers.map(|told| Cursor { told, at: now });
    let Some(last) = last else { return Begin::Now(here) };
    let Some(end) = here else { return Begin::Reset("unavailable", None) };
    let Some(cursor) = Cursor::parse(last) else { return Begin::Reset("unknown", Some(end)) };
    match Missed::since(store, cursor, end.clone(), now).await {
        Ok(Ok(missed)) => Begin::Missed(Box::new(missed)),
        Ok(Err(why)) => Begin::Reset(why, Some(end)),
        Err(_) => Begin::Reset("unavailable", Some(end)),
    }
}

impl Missed {
    async fn since(
        store: &Store,
        mut cursor: Cursor,
        end: Cursor,
        now: Timestamp,
    ) -> Result<Result<Self, &'static str>, StoreError> {
        if now.since(cursor.at) > OLDEST {
            return Ok(Err("too_old"));
        }
        // It was told more than there is: another database, or one that lacks the last writes.
        if cursor.told.iter().any(|(name, told)| end.told.get(name).is_some_and(|seq| seq < told)) {
            return Ok(Err("unknown"));
        }
        let (mut left, mut count) = (VecDeque::new(), 0);
        for (name, seq) in &end.told {
            let told = if let Some(told) = cursor.told.get(name) {
                *told
            } else {
                // It came later.
                let since = Timestamp(cursor.at.0.saturating_sub(millis(SKEW)));
                let told = store.last_event_before(name, since).await?;
                cursor.told.insert(name.clone(), told);
                told
            };
            if told < *seq {
                count += store.count_events(name, told, *seq).await?;
                left.push_back((name.clone(), *seq));
            }
        }
        if count > MOST {
            return Ok(Err("too_old"));
        }
        Ok(Ok(Self { store: store.clone(), cursor, left, end }))
    }

    /// Up to which number of each instance it goes: what is told later begins after that.
    #[must_use]
    pub const fn end(&self) -> &Cursor {
        &self.end
    }

    /// The next events, oldest first of each instance; none when all were told.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn next(&mut self) -> Result<Option<Vec<News>>, StoreError> {
        while let Some((name, until)) = self.left.front() {
            let told = self.cursor.told.get(name).copied().unwrap_or_default();
            let page = self.store.events_after(name, told, PAGE).await?;
            let read = page.len();
            let mut list = Vec::new();
            let mut over = i64::try_from(read).is_ok_and(|read| read < PAGE);
            for event in page {
                if event.event.seq > *until {
                    over = true;
                    break;
                }
                list.extend(news(event, &mut self.cursor));
            }
            if over {
                self.left.pop_front();
            }
            if !list.is_empty() {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
