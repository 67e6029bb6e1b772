//! The events as a history of one subject, when somebody watched, and the removal of both once they are old.

use std::time::Duration;

use super::db::{Session, args};
use super::events::Event;
use super::{Lease, Store, StoreError, single, write};
use crate::domain::Timestamp;

/// Events of a node that are read for its uptime at most; more is a node that flaps every two minutes for a month.
const MOST: i64 = 20_000;

/// A place in a history: events before it come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// When the event was committed, epoch milliseconds.
    pub at: i64,
    /// By whom.
    pub instance: String,
    /// Its number.
    pub seq: i64,
}

impl Place {
    /// After all events.
    #[must_use]
    pub const fn newest() -> Self {
        Self { at: i64::MAX, instance: String::new(), seq: 0 }
    }
}

pub(super) const OF_SUBJECT: &str = "SELECT instance, seq, at, kind, subject_id, name, state, reason, status, run, \
     exit_status, was_state FROM procwarden_events WHERE kind = ? AND subject_id = ? \
     AND (at < ? OR (at = ? AND (instance < ? OR (instance = ? AND seq < ?)))) \
     ORDER BY at DESC, instance DESC, seq DESC LIMIT ?";
pub(super) const STATES: &str = "SELECT at, state, was_state FROM procwarden_events WHERE kind = 'node' AND subject_id = ? AND at >= ? \
     ORDER BY at DESC, instance DESC, seq DESC LIMIT ?";
pub(super) const STATE_BEFORE: &str = "SELECT at, state, was_state FROM procwarden_events WHERE kind = 'node' AND subject_id = ? AND at < ? \
     ORDER BY at DESC, instance DESC, seq DESC LIMIT 1";
pub(super) const RECORDED: &str =
    "SELECT created_at, since, state FROM procwarden_nodes WHERE id = ?";
pub(super) const WATCHES: &str = "SELECT since, until FROM procwarden_watches WHERE until >= ?";
pub(super) const WATCH_ON: &str =
    "UPDATE procwarden_watches SET until = ? WHERE instance = ? AND until < ? AND until >= ?";
pub(super) const WATCH_ANEW: &str = "INSERT INTO procwarden_watches (instance, since, until) SELECT ?, ?, ? FROM_DUAL \
     WHERE NOT EXISTS (SELECT 1 FROM procwarden_watches WHERE instance = ? AND until >= ?)";
pub(super) const OLD: &str = "SELECT e.instance, e.seq FROM procwarden_events e WHERE e.at < ? AND (e.kind <> 'node' \
     OR NOT EXISTS (SELECT 1 FROM procwarden_nodes n WHERE n.id = e.subject_id) \
     OR EXISTS (SELECT 1 FROM procwarden_events l WHERE l.kind = e.kind AND l.subject_id = e.subject_id AND l.at > e.at \
     AND l.at < ?)) ORDER BY e.at LIMIT ?";
pub(super) const DROP_EVENT: &str = "DELETE FROM procwarden_events WHERE instance = ? AND seq = ?";
pub(super) const DROP_WATCHES: &str = "DELETE FROM procwarden_watches WHERE until < ?";

impl Store {
    /// The last `limit` events of a node (`kind` is `node`) or of a migration's row before a place, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn history(
        &self,
        kind: &str,
        subject: i64,
        before: &Place,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let Place { at, instance, seq } = before;
        single!(self, session => session.all(
            OF_SUBJECT, args![kind, subject, *at, *at, instance, instance, *seq, limit]
        ))
    }

    /// The states of a node since a moment, with the one that stood then, and when each began, oldest first. What its events
    /// do not tell its row does: a state that it has since its first check is no event. Of more than 20,000 events only the
    /// last count.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn node_states(
        &self,
        node: i64,
        since: Timestamp,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        type Turned = (i64, String, Option<String>);
        type Recorded = (i64, Option<i64>, String);
        let mut turned: Vec<Turned> =
            single!(self, session => session.all(STATES, args![node, since.0, MOST]))?;
        if i64::try_from(turned.len()).is_ok_and(|read| read < MOST) {
            let before: Vec<Turned> =
                single!(self, session => session.all(STATE_BEFORE, args![node, since.0]))?;
            let is_first = before.is_empty();
            turned.extend(before);
            let recorded: Option<Recorded> =
                single!(self, session => session.first(RECORDED, args![node]))?;
            if let (true, Some((created, began, state))) = (is_first, recorded) {
                let earlier = match turned.last() {
                    Some((at, _, Some(was))) if created < *at => Some((created, was.clone(), None)),
                    Some(_) => None,
                    None => began.map(|began| (began, state, None)),
                };
                turned.extend(earlier);
            }
        }
        Ok(turned.into_iter().rev().map(|(at, state, _)| (at, state)).collect())
    }

    /// When somebody watched, as far as that is after a moment: the begin and the end of each time.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn watches(&self, since: Timestamp) -> Result<Vec<(i64, i64)>, StoreError> {
        single!(self, session => session.all(WATCHES, args![since.0]))
    }

    /// An instance had looked at all its nodes by then. What it saw held for `window`: that long after the look before, it
    /// is the same time of watching.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub(super) async fn watched(
        &self,
        lease: &Lease,
        swept: Timestamp,
        window: Duration,
    ) -> Result<(), StoreError> {
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let (name, at, since) = (&lease.name, swept.0, swept.0.saturating_sub(window));
        let longer =
            single!(self, session => session.execute(WATCH_ON, args![at, name, at, since]))?;
        if longer == 0 {
            single!(self, session => session.execute(WATCH_ANEW, args![name, at, at, name, at]))?;
        }
        Ok(())
    }

    /// Removes at most `limit` events from before a moment; a node's last one stays, for its state still stands. True if
    /// there may be more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn prune_events(&self, before: Timestamp, limit: i64) -> Result<bool, StoreError> {
        write!(self, tx => prune(tx, before.0, limit))
    }
}

async fn prune(tx: &mut Session, before: i64, limit: i64) -> Result<bool, StoreError> {
    let old: Vec<(String, i64)> = tx.all(OLD, args![before, before, limit]).await?;
    for (instance, seq) in &old {
        tx.execute(DROP_EVENT, args![instance, *seq]).await?;
    }
    tx.execute(DROP_WATCHES, args![before]).await?;
    Ok(i64::try_from(old.len()).is_ok_and(|read| read == limit))
}
