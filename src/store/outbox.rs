//! The outbox: alerts that wait to be sent, one row for each channel and each transaction that made some.
//!
//! Rows that are sent together have the same `delivery`. Whoever sends one takes it for a while (`next_at`, by the
//! database's clock), so that of several instances one does; if that one dies, it is due again.

use std::time::Duration;

use super::db::{Session, args};
use super::{Store, StoreError, batch, dialect, single, write};
use crate::domain::alert::{Alert, Channel, Rules};

/// Most alerts of one message: 500 of them are half a megabyte at the very most of ordinary texts.
const MOST: i64 = 500;

/// What waits for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct OutboxState {
    /// How many alerts.
    pub pending: i64,
    /// Since when, epoch milliseconds by the database's clock.
    pub oldest: Option<i64>,
    /// How often the most tried was tried.
    pub attempts: i64,
    /// When the next is due, by the database's clock.
    pub next_at: Option<i64>,
    /// That clock.
    pub now: i64,
}

impl OutboxState {
    /// Is something to be sent now?
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.next_at.is_some_and(|next_at| next_at <= self.now)
    }
}

/// What is sent together, taken to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name, the same each time that it is sent.
    pub id: String,
    /// In the order in which they were made.
    pub alerts: Vec<Alert>,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

pub(super) const INSERT: &str = "INSERT INTO procwarden_outbox (instance, seq, channel, payload, alerts, attempts, next_at, \
     created_at) VALUES (?, ?, ?, ?, ?, 0, NOW_MS() + ?, NOW_MS())";
pub(super) const DUE: &str = "SELECT MIN(next_at), delivery FROM procwarden_outbox WHERE channel = ? AND delivery IS NOT NULL \
     AND next_at <= NOW_MS() GROUP BY delivery ORDER BY 1 LIMIT 1";
pub(super) const TAKE: &str = "UPDATE procwarden_outbox SET next_at = NOW_MS() + ?, attempts = attempts + 1 \
     WHERE delivery = ? AND next_at <= NOW_MS()";
pub(super) const NEW_DUE: &str = "SELECT COUNT(*) FROM procwarden_outbox WHERE channel = ? AND delivery IS NULL \
     AND next_at <= NOW_MS()";
pub(super) const NEW: &str = "SELECT id, alerts FROM procwarden_outbox WHERE channel = ? AND delivery IS NULL ORDER BY id LIMIT ?";
pub(super) const GROUP: &str = "UPDATE procwarden_outbox SET delivery = ?, next_at = NOW_MS() + ?, attempts = 1 \
     WHERE channel = ? AND delivery IS NULL AND id <= ?";
pub(super) const READ: &str =
    "SELECT payload, attempts FROM procwarden_outbox WHERE delivery = ? ORDER BY id";
pub(super) const AGAIN: &str =
    "UPDATE procwarden_outbox SET next_at = NOW_MS() + ? WHERE delivery = ?";
pub(super) const DONE: &str = "DELETE FROM procwarden_outbox WHERE delivery = ?";
pub(super) const OLD: &str = "SELECT id, channel, alerts FROM procwarden_outbox WHERE created_at < NOW_MS() - ? ORDER BY id LIMIT ?";
pub(super) const DROP: &str = "DELETE FROM procwarden_outbox WHERE id = ?";

/// Puts alerts in for every channel.
pub(super) async fn put(
    tx: &mut Session,
    rules: &Rules,
    (writer, seq): (&str, i64),
    alerts: &[Alert],
) -> Result<(), StoreError> {
    for part in alerts.chunks(usize::try_from(MOST).unwrap_or(usize::MAX)) {
        let payload = batch::json(part)?;
        let count = i64::try_from(part.len()).unwrap_or(MOST);
        for channel in &rules.channels {
            let channel = channel.as_str();
            let values = args![writer, seq, channel, &payload, count, ms(rules.group_wait)];
            tx.execute(INSERT, values).await?;
        }
    }
    Ok(())
}

impl Store {
    /// What waits for a channel.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn outbox(&self, channel: Channel) -> Result<OutboxState, StoreError> {
        let statement = dialect::outbox_state(self.engine());
        let state = single!(self, session => session.first(statement, args![channel.as_str()]))?;
        Ok(state.unwrap_or_default())
    }

    /// Takes what is to be sent next for `hold`: what was tried before and is due again, else what is new, all of it
    /// together, under the name `id`. None if nothing is due, or another was faster.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn take_delivery(
        &self,
        channel: Channel,
        id: &str,
        hold: Duration,
    ) -> Result<Option<Delivery>, StoreError> {
        write!(self, tx => take(tx, channel.as_str(), id, hold))
    }

    /// It did not get through: it is due again after `pause`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn deliver_again(&self, id: &str, pause: Duration) -> Result<(), StoreError> {
        single!(self, session => session.execute(AGAIN, args![ms(pause), id])).map(drop)
    }

    /// It was sent.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delivered(&self, id: &str) -> Result<(), StoreError> {
        single!(self, session => session.execute(DONE, args![id])).map(drop)
    }

    /// Gives up, of what has waited for longer than `retain`, at most `limit` rows. How many alerts of which channel that
    /// were.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn prune_outbox(
        &self,
        retain: Duration,
        limit: i64,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        write!(self, tx => prune(tx, retain, limit))
    }
}

async fn take(
    tx: &mut Session,
    channel: &str,
    id: &str,
    hold: Duration,
) -> Result<Option<Delivery>, StoreError> {
    let due: Option<(i64, String)> = tx.first(DUE, args![channel]).await?;
    let id = if let Some((_, id)) = due {
        if tx.execute(TAKE, args![ms(hold), &id]).await? == 0 {
            return Ok(None);
        }
        id
    } else {
        if tx.number(NEW_DUE, args![channel]).await?.unwrap_or(0) == 0 {
            return Ok(None);
        }
        let rows: Vec<(i64, i64)> = tx.all(NEW, args![channel, MOST]).await?;
        let Some(last) = last_that_fits(&rows) else { return Ok(None) };
        if tx.execute(GROUP, args![id, ms(hold), channel, last]).await? == 0 {
            return Ok(None);
        }
        id.to_owned()
    };
    let rows: Vec<(String, i64)> = tx.all(READ, args![&id]).await?;
    let attempts = rows.iter().map(|(_, attempts)| *attempts).max().unwrap_or(1);
    let mut alerts = Vec::new();
    for (payload, _) in &rows {
        let part: Vec<Alert> = serde_json::from_str(payload).map_err(|error| {
            let problem = format!("delivery {id}: {error}");
            StoreError::Corrupt { table: "procwarden_outbox", problem }
        })?;
        alerts.extend(part);
    }
    Ok(Some(Delivery { id, alerts, attempts: u32::try_from(attempts).unwrap_or(u32::MAX) }))
}

/// The last row of a message: with the first it is at least one.
fn last_that_fits(rows: &[(i64, i64)]) -> Option<i64> {
    let mut sum = 0;
    let fits = rows.iter().take_while(|(_, alerts)| {
        let is_first = sum == 0;
        sum += alerts;
        is_first || sum <= MOST
    });
    fits.last().map(|(id, _)| *id)
}

async fn prune(
    tx: &mut Session,
    retain: Duration,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    let old: Vec<(i64, String, i64)> = tx.all(OLD, args![ms(retain), limit]).await?;
    for (id, ..) in &old {
        tx.execute(DROP, args![*id]).await?;
    }
    Ok(old.into_iter().map(|(_, channel, alerts)| (channel, alerts)).collect())
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
