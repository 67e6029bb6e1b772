//! Events: what turned, one row each, written with the row that turned.

use sqlx::{Sqlite, Transaction};

use super::{Store, StoreError};
use crate::domain::Timestamp;

/// Something turned.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Event {
    /// The instance that saw it; with `seq` the key.
    pub instance: String,
    /// Counts the events of one instance, from 1.
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
}

/// Inserts an event with the instance's next number. There is one writer per instance, so the number is free.
pub(super) async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    instance: &str,
    at: Timestamp,
    event: &Event,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO procwarden_events \
         (instance, seq, at, kind, subject_id, name, state, reason, status, run) \
         SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ? \
         FROM procwarden_events WHERE instance = ?",
    )
    .bind(instance)
    .bind(at.0)
    .bind(&event.kind)
    .bind(event.subject_id)
    .bind(&event.name)
    .bind(&event.state)
    .bind(&event.reason)
    .bind(&event.status)
    .bind(event.run)
    .bind(instance)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Store {
    /// The last `limit` events of an instance, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn events(&self, instance: &str, limit: i64) -> Result<Vec<Event>, StoreError> {
        let mut events: Vec<Event> = sqlx::query_as(
            "SELECT instance, seq, at, kind, subject_id, name, state, reason, status, run \
             FROM procwarden_events WHERE instance = ? ORDER BY seq DESC LIMIT ?",
        )
        .bind(instance)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        events.reverse();
        Ok(events)
    }
}
