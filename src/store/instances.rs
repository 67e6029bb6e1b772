//! The instances' rows: who runs under which name, until when its word counts, and when it last looked at every node.
//!
//! Leases expire by the database's clock: those of the hosts differ.

use std::time::Duration;

use super::db::{Session, args};
use super::events::NEXT_SEQ;
use super::{Store, StoreError, single, write};
use crate::domain::fleet::{Heartbeat, live};
use crate::domain::{Here, Timestamp, Uptime};

/// Who takes a name.
#[derive(Debug, Clone)]
pub struct Holder {
    /// `instance.name`.
    pub name: String,
    /// The host and boot it runs in.
    pub here: Here,
    /// Its PID.
    pub pid: u32,
    /// When its process started, in clock ticks since boot; none where `/proc` hides it.
    pub start_ticks: Option<u64>,
    /// When it started, by its own clock.
    pub since: Timestamp,
    /// How long one of its heartbeats holds.
    pub lease: Duration,
}

/// A name that is ours until another takes it over. What is written in its name is refused after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `instance.name`.
    pub name: String,
    /// Grows each time that the name is taken; begins at the database's time, so that a name that was forgotten and taken
    /// again has none that it had before.
    pub epoch: i64,
}

/// A heartbeat: it vouches for every row of this instance that was not written because nothing changed.
#[derive(Debug, Clone)]
pub struct Beat {
    /// When the last whole pass over the nodes ended, on both clocks.
    pub swept: Option<(Timestamp, Uptime)>,
    /// How long ago that was.
    pub swept_ago: Option<Duration>,
    /// How long that pass took.
    pub tick_ms: i64,
    /// How old a verdict of it may be.
    pub window: Duration,
    /// Nodes it answers for.
    pub nodes: i64,
    /// Locks it answers for.
    pub locks: i64,
}

/// An instance's row as it stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct InstanceRow {
    /// `instance.name`.
    pub name: String,
    /// The host.
    pub host_id: String,
    /// The boot.
    pub boot_id: String,
    /// The PID namespace.
    pub pid_ns: i64,
    /// Its PID.
    pub pid: i64,
    /// When its process started, in clock ticks since boot.
    pub start_ticks: Option<i64>,
    /// The program's version.
    pub version: String,
    /// When it started, epoch milliseconds by its own clock.
    pub since: i64,
    /// Epoch milliseconds by the database's clock.
    pub last_beat: i64,
    /// Until when its last beat holds, by the database's clock; 0 once it has said goodbye.
    pub expires_at: i64,
    /// How long a beat holds, milliseconds.
    pub lease_ms: i64,
    /// Grows each time that the name is taken.
    pub epoch: i64,
    /// The last number given to what it wrote.
    pub seq: i64,
    /// End of its last whole pass, epoch milliseconds by its own clock.
    pub swept_at: Option<i64>,
    /// The same on its boot clock, milliseconds.
    pub swept_up: Option<i64>,
    /// The same by the database's clock.
    pub swept_db: Option<i64>,
    /// How old a verdict of it may be, milliseconds.
    pub window_ms: i64,
    /// Length of its last pass, milliseconds.
    pub tick_ms: i64,
    /// Nodes it answers for.
    pub nodes: i64,
    /// Locks it answers for.
    pub locks: i64,
    /// Since when its loss is told of, epoch milliseconds by the database's clock.
    pub alerted: Option<i64>,
}

impl InstanceRow {
    /// Does its last heartbeat hold at `now` of the database's clock? See [`crate::domain::fleet::live`].
    #[must_use]
    pub fn is_live(&self, now: i64) -> bool {
        !live([self.heartbeat()], now).is_empty()
    }

    /// What the judgement over it needs.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat<'_> {
        Heartbeat { name: &self.name, expires_at: self.expires_at, lease_ms: self.lease_ms }
    }
}

/// The columns of [`InstanceRow`].
macro_rules! columns {
    () => {
        "name, host_id, boot_id, pid_ns, pid, start_ticks, version, since, last_beat, expires_at, lease_ms, epoch, seq, \
         swept_at, swept_up, swept_db, window_ms, tick_ms, nodes, locks, alerted "
    };
}
pub(super) use columns;

pub(super) const FIRST_SEQ: &str = "SELECT MAX(seq) FROM (SELECT MAX(seq) AS seq FROM procwarden_events WHERE instance = ? \
     UNION ALL SELECT MAX(change_seq) FROM procwarden_nodes WHERE writer = ? \
     UNION ALL SELECT MAX(change_seq) FROM procwarden_migrations WHERE writer = ?) AS used";
pub(super) const INSERT: &str = "INSERT INTO procwarden_instances \
     (name, host_id, boot_id, pid_ns, pid, start_ticks, version, since, last_beat, expires_at, lease_ms, epoch, seq) \
     SELECT ?, ?, ?, ?, ?, ?, ?, ?, NOW_MS(), NOW_MS() + ?, ?, NOW_MS(), ? FROM_DUAL \
     WHERE NOT EXISTS (SELECT 1 FROM procwarden_instances WHERE name = ?)";
pub(super) const EPOCH: &str = "SELECT epoch FROM procwarden_instances WHERE name = ?";
pub(super) const TAKE: &str = "UPDATE procwarden_instances SET host_id = ?, boot_id = ?, pid_ns = ?, pid = ?, start_ticks = ?, \
     version = ?, since = ?, last_beat = NOW_MS(), expires_at = NOW_MS() + ?, lease_ms = ?, epoch = epoch + 1, \
     seq = CASE WHEN seq < ? THEN ? ELSE seq END \
     WHERE name = ? AND epoch = ? AND (expires_at <= NOW_MS() OR expires_at > NOW_MS() + lease_ms OR 1 = ?)";
pub(super) const BEAT: &str = "UPDATE procwarden_instances SET last_beat = NOW_MS(), expires_at = NOW_MS() + lease_ms, \
     swept_at = COALESCE(?, swept_at), swept_up = COALESCE(?, swept_up), swept_db = COALESCE(NOW_MS() - ?, swept_db), \
     tick_ms = ?, window_ms = ?, nodes = ?, locks = ? WHERE name = ? AND epoch = ?";
pub(super) const RELEASE: &str =
    "UPDATE procwarden_instances SET expires_at = 0 WHERE name = ? AND epoch = ?";

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Store {
    /// Takes a name that nobody has (`from` is none), or takes it over from the holder that was seen: if that one's lease
    /// has ended, or whatever its lease says if `is_dead`. None if somebody else was faster.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::ReadOnly`], [`StoreError::Rights`].
    pub async fn take_name(
        &self,
        holder: &Holder,
        from: Option<&InstanceRow>,
        is_dead: bool,
    ) -> Result<Option<Lease>, StoreError> {
        match write!(self, tx => take(tx, holder, from, is_dead)) {
            Ok(epoch) => Ok(epoch.map(|epoch| Lease { name: holder.name.clone(), epoch })),
            // Inserted by somebody else between our look and our write.
            Err(StoreError::Database(sqlx::Error::Database(error)))
                if error.is_unique_violation() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the heartbeat; what it does not know yet (a pass) keeps its last value.
    ///
    /// # Errors
    /// [`StoreError::LostName`], [`StoreError::Database`], [`StoreError::Replaced`].
    pub async fn beat(&self, lease: &Lease, beat: &Beat) -> Result<(), StoreError> {
        self.require_in_place()?;
        let (wall, up) = beat.swept.unzip();
        let changed = single!(self, session => session.execute(BEAT, args![
            wall.map(|it| it.0), up.map(|it| it.0), beat.swept_ago.map(ms), beat.tick_ms, ms(beat.window), beat.nodes,
            beat.locks, &lease.name, lease.epoch,
        ]))?;
        if changed != 1 {
            return Err(StoreError::LostName(lease.name.clone()));
        }
        match wall {
            Some(wall) => self.watched(lease, wall, beat.window).await,
            None => Ok(()),
        }
    }

    /// Waits until what was written in this name has come to its end at the server: a commit whose answer was lost may be
    /// under way there, and reads do not wait for it. All such writes lock the name's row first.
    ///
    /// # Errors
    /// [`StoreError::LostName`], [`StoreError::Database`]: not yet, mostly.
    pub async fn settle(&self, lease: &Lease) -> Result<(), StoreError> {
        let none = 0_i64;
        let arguments = args![none, &lease.name, lease.epoch];
        match single!(self, session => session.execute(NEXT_SEQ, arguments))? {
            1 => Ok(()),
            _ => Err(StoreError::LostName(lease.name.clone())),
        }
    }

    /// Says goodbye: the name is free at once, and others take over what they can reach.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn release_name(&self, lease: &Lease) -> Result<(), StoreError> {
        single!(self, session => session.execute(RELEASE, args![&lease.name, lease.epoch]))
            .map(drop)
    }
}

/// The new epoch; none if the row is not as it was seen.
async fn take(
    tx: &mut Session,
    holder: &Holder,
    from: Option<&InstanceRow>,
    is_dead: bool,
) -> Result<Option<i64>, StoreError> {
    let (name, here, lease) = (&holder.name, &holder.here, ms(holder.lease));
    let ticks = holder.start_ticks.map(u64::cast_signed);
    let (pid_ns, pid, since) = (here.pid_ns.cast_signed(), i64::from(holder.pid), holder.since.0);
    let version = env!("CARGO_PKG_VERSION");
    let used = tx.number(FIRST_SEQ, args![name, name, name]).await?.unwrap_or(0);
    #[rustfmt::skip] // The order of the columns.
    let changed = if let Some(from) = from {
        tx.execute(TAKE, args![
            &here.host_id, &here.boot_id, pid_ns, pid, ticks, version, since, lease, lease, used, used,
            name, from.epoch, i64::from(is_dead),
        ]).await?
    } else {
        tx.execute(INSERT, args![
            name, &here.host_id, &here.boot_id, pid_ns, pid, ticks, version, since, lease, lease, used,
            name,
        ]).await?
    };
    if changed == 1 { tx.number(EPOCH, args![name]).await } else { Ok(None) }
}
