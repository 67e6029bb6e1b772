//! Events: what turned, one row each, written with the row that turned.

use serde::Serialize;

use super::batch::{self, BATCH};
use super::db::{Session, args};
use super::{Lease, Store, StoreError, dialect, single};
use crate::domain::Timestamp;

/// Something turned.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Event {
    /// The instance that saw it; with `seq` the key.
    pub instance: String,
    /// Grows with the commits of one instance. There are gaps: it counts all its writes, not events alone.
    pub seq: i64,
    /// When it was committed, epoch milliseconds.
    pub at: i64,
    /// `node` or `migration`.
    pub kind: String,
    /// The row's id.
    pub subject_id: i64,
    /// The node's name or the migration's uuid.
    pub name: String,
    /// The state after it.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// The migration's status after it.
    pub status: Option<String>,
    /// The migration's run.
    pub run: Option<i64>,
    /// How the process ended, as `wait(2)` tells it.
    pub exit_status: Option<i64>,
    /// A node's state before it.
    pub was_state: Option<String>,
}

/// An event with what its row does not say.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RecordedEvent {
    /// The row.
    #[sqlx(flatten)]
    pub event: Event,
    /// A migration's `brz_project_id`.
    pub brz_project_id: Option<i64>,
}

/// An event to be written; its number is given when it is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NewEvent<'a> {
    pub(super) seq: i64,
    pub(super) kind: &'static str,
    pub(super) id: i64,
    pub(super) name: &'a str,
    pub(super) state: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) status: Option<&'static str>,
    pub(super) run: Option<i64>,
    pub(super) exit_status: Option<i64>,
    pub(super) was_state: Option<&'static str>,
}

/// Takes the next `count` numbers of the instance, at least one, for what this transaction writes; the last of them.
///
/// The row stays locked until the commit, so that numbers become visible in their order: a reader that has seen one has
/// seen all before it. The same statement proves that the name is still ours.
pub(super) async fn next_seq(
    tx: &mut Session,
    lease: &Lease,
    count: usize,
) -> Result<i64, StoreError> {
    let count = i64::try_from(count.max(1)).unwrap_or(i64::MAX);
    let changed = tx.execute(NEXT_SEQ, args![count, &lease.name, lease.epoch]).await?;
    let seq = tx.number(READ_SEQ, args![&lease.name]).await?;
    match seq {
        Some(seq) if changed == 1 => Ok(seq),
        _ => Err(StoreError::LostName(lease.name.clone())),
    }
}

/// Inserts events with the last numbers up to `seq`.
pub(super) async fn insert(
    tx: &mut Session,
    instance: &str,
    at: Timestamp,
    seq: i64,
    mut events: Vec<NewEvent<'_>>,
) -> Result<(), StoreError> {
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    for (number, event) in (seq - count + 1..).zip(&mut events) {
        event.seq = number;
    }
    for batch in events.chunks(BATCH) {
        let batch = batch::rows(tx.engine(), batch)?;
        let statement = dialect::insert_events(tx.engine());
        tx.execute(statement, args![instance, at.0, &batch]).await?;
    }
    Ok(())
}

pub(super) const NEXT_SEQ: &str =
    "UPDATE procwarden_instances SET seq = seq + ? WHERE name = ? AND epoch = ?";
pub(super) const READ_SEQ: &str = "SELECT seq FROM procwarden_instances WHERE name = ?";
pub(super) const LAST: &str = "SELECT instance, seq, at, kind, subject_id, name, state, reason, status, run, \
     exit_status, was_state \
     FROM procwarden_events WHERE instance = ? ORDER BY seq DESC LIMIT ?";
pub(super) const AFTER: &str = "SELECT e.instance, e.seq, e.at, e.kind, e.subject_id, e.name, e.state, e.reason, e.status, \
     e.run, e.exit_status, e.was_state, m.brz_project_id FROM procwarden_events e LEFT JOIN procwarden_migrations m \
     ON m.id = e.subject_id AND e.kind = 'migration' WHERE e.instance = ? AND e.seq > ? ORDER BY e.seq LIMIT ?";
pub(super) const COUNT: &str =
    "SELECT COUNT(*) FROM procwarden_events WHERE instance = ? AND seq > ? AND seq <= ?";
pub(super) const SEQS: &str = "SELECT name, seq FROM procwarden_instances ORDER BY name";
pub(super) const LAST_BEFORE: &str =
    "SELECT MAX(seq) FROM procwarden_events WHERE instance = ? AND at < ?";

impl Store {
    /// Each instance's name and the last number that it gave; all that it wrote up to there is committed.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn instance_seqs(&self) -> Result<Vec<(String, i64)>, StoreError> {
        single!(self, session => session.all(SEQS, args![]))
    }

    /// The first `limit` events of an instance after this number, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn events_after(
        &self,
        instance: &str,
        seq: i64,
        limit: i64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        single!(self, session => session.all(AFTER, args![instance, seq, limit]))
    }

    /// How many events of an instance have a number above `after` and up to `until`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn count_events(
        &self,
        instance: &str,
        after: i64,
        until: i64,
    ) -> Result<i64, StoreError> {
        let count = single!(self, session => session.number(COUNT, args![instance, after, until]))?;
        Ok(count.unwrap_or(0))
    }

    /// The number of an instance's last event before this moment; 0 if it has none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn last_event_before(
        &self,
        instance: &str,
        at: Timestamp,
    ) -> Result<i64, StoreError> {
        let last = single!(self, session => session.number(LAST_BEFORE, args![instance, at.0]))?;
        Ok(last.unwrap_or(0))
    }

    /// The last `limit` events of an instance, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn events(&self, instance: &str, limit: i64) -> Result<Vec<Event>, StoreError> {
        let mut events: Vec<Event> =
            single!(self, session => session.all(LAST, args![instance, limit]))?;
        events.reverse();
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::store::Engine;

    #[test]
    fn mysql_takes_each_field_by_its_place() {
        let row = NewEvent {
            seq: 1,
            kind: "node",
            id: 1,
            name: "n",
            state: "up",
            reason: None,
            status: None,
            run: None,
            exit_status: None,
            was_state: None,
        };
        let Value::Object(fields) = serde_json::to_value(&row).unwrap() else { unreachable!() };
        let fields: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
        assert_eq!(dialect::numbered(dialect::insert_events(Engine::MySql)), fields);
    }
}
