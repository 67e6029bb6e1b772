//! The instance's heartbeat row: who runs, since when, and when every node was last looked at.

use super::{Store, StoreError};
use crate::domain::{Here, Timestamp, Uptime};

/// A heartbeat: it vouches for every row of this instance that was not written because nothing changed.
#[derive(Debug, Clone)]
pub struct Beat {
    /// `instance.name`.
    pub name: String,
    /// The host and boot it runs in.
    pub here: Here,
    /// Its PID.
    pub pid: u32,
    /// When it started.
    pub since: Timestamp,
    /// Now.
    pub at: Timestamp,
    /// When the last whole pass over the nodes ended, on both clocks.
    pub swept: Option<(Timestamp, Uptime)>,
    /// How long that pass took.
    pub tick_ms: i64,
    /// Nodes it answers for.
    pub nodes: i64,
    /// Locks it answers for.
    pub locks: i64,
}

/// A heartbeat row as it stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct InstanceRow {
    /// `instance.name`.
    pub name: String,
    /// The host.
    pub host_id: String,
    /// The boot.
    pub boot_id: String,
    /// Its PID.
    pub pid: i64,
    /// The program's version.
    pub version: String,
    /// When it started, epoch milliseconds.
    pub since: i64,
    /// Epoch milliseconds.
    pub last_beat: i64,
    /// End of its last whole pass, epoch milliseconds.
    pub swept_at: Option<i64>,
    /// The same on the boot clock, milliseconds.
    pub swept_up: Option<i64>,
    /// Length of its last pass, milliseconds.
    pub tick_ms: i64,
    /// Nodes it answers for.
    pub nodes: i64,
    /// Locks it answers for.
    pub locks: i64,
}

impl Store {
    /// Writes the heartbeat; what it does not know yet (a pass) keeps its last value.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Replaced`].
    pub async fn beat(&self, beat: &Beat) -> Result<(), StoreError> {
        self.require_in_place()?;
        sqlx::query(
            "INSERT INTO procwarden_instances \
             (name, host_id, boot_id, pid_ns, pid, version, since, last_beat, swept_at, swept_up, tick_ms, nodes, locks) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET host_id = excluded.host_id, boot_id = excluded.boot_id, \
             pid_ns = excluded.pid_ns, pid = excluded.pid, version = excluded.version, \
             since = excluded.since, last_beat = excluded.last_beat, \
             swept_at = COALESCE(excluded.swept_at, procwarden_instances.swept_at), \
             swept_up = COALESCE(excluded.swept_up, procwarden_instances.swept_up), \
             tick_ms = excluded.tick_ms, nodes = excluded.nodes, locks = excluded.locks",
        )
        .bind(&beat.name)
        .bind(&beat.here.host_id)
        .bind(&beat.here.boot_id)
        .bind(beat.here.pid_ns.cast_signed())
        .bind(i64::from(beat.pid))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(beat.since.0)
        .bind(beat.at.0)
        .bind(beat.swept.map(|(wall, _)| wall.0))
        .bind(beat.swept.map(|(_, up)| up.0))
        .bind(beat.tick_ms)
        .bind(beat.nodes)
        .bind(beat.locks)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Every heartbeat row, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn instances(&self) -> Result<Vec<InstanceRow>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT name, host_id, boot_id, pid, version, since, last_beat, swept_at, swept_up, \
             tick_ms, nodes, locks FROM procwarden_instances ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
