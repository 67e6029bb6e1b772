//! What instances see of each other: who there is, what changed since, taking nodes over, and forgetting the lost.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::batch::{self, BATCH};
use super::db::{Session, args};
use super::events::next_seq;
use super::instances::{InstanceRow, columns};
use super::{Engine, Lease, Store, StoreError, dialect, single, write};

/// All instances at one moment of the database's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// That moment, epoch milliseconds.
    pub now: i64,
    /// Grows with each write of the registry, by whichever process.
    pub revision: i64,
    /// By name.
    pub instances: Vec<InstanceRow>,
}

/// What became of the wish to forget an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// It is gone; that many nodes were released or moved.
    Done(u64),
    /// Its lease holds.
    Live,
    /// There is none of that name.
    Unknown,
}

#[derive(Debug, sqlx::FromRow)]
struct FleetRow {
    now: i64,
    revision: Option<i64>,
    #[sqlx(flatten)]
    instance: InstanceRow,
}

#[derive(Serialize)]
struct Claim {
    id: i64,
    epoch: i64,
}

pub(super) const FLEET: &str = concat!(
    "SELECT NOW_MS() AS now, (SELECT revision FROM procwarden_revision WHERE name = 'nodes') AS revision, ",
    columns!(),
    "FROM procwarden_instances ORDER BY name"
);
pub(super) const CLAIMED: &str =
    "SELECT id FROM procwarden_nodes WHERE writer = ? AND change_seq = ?";
pub(super) const FORGET: &str = "DELETE FROM procwarden_instances WHERE name = ? AND expires_at <= NOW_MS() AND last_beat <= NOW_MS() - ?";
pub(super) const IS_THERE: &str = "SELECT COUNT(*) FROM procwarden_instances WHERE name = ?";
pub(super) const DROP_FINDINGS: &str = "DELETE FROM procwarden_findings WHERE instance = ?";
pub(super) const RELEASE_NODES: &str =
    "UPDATE procwarden_nodes SET owner = NULL, owner_epoch = owner_epoch + 1 WHERE owner = ?";
pub(super) const MOVE_PLACED: &str =
    "UPDATE procwarden_nodes SET placement = ?, version = version + 1 WHERE placement = ?";
pub(super) const MOVE_REGISTERED: &str =
    "UPDATE procwarden_nodes SET instance = ?, version = version + 1 WHERE instance = ?";
pub(super) const MOVE_OWNED: &str =
    "UPDATE procwarden_nodes SET owner = ?, owner_epoch = owner_epoch + 1 WHERE owner = ?";

impl Store {
    /// Every instance and the registry's revision, in one statement.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn fleet(&self) -> Result<Fleet, StoreError> {
        let rows: Vec<FleetRow> = single!(self, session => session.all(FLEET, &[]))?;
        let first = rows.first();
        Ok(Fleet {
            now: first.map_or(0, |row| row.now),
            revision: first.and_then(|row| row.revision).unwrap_or(0),
            instances: rows.into_iter().map(|row| row.instance).collect(),
        })
    }

    /// Takes nodes over, each only if its owner's epoch is still the one given. Those that are ours now; their epoch has
    /// grown by one.
    ///
    /// # Errors
    /// [`StoreError::LostName`], [`StoreError::Database`]: then nothing is taken.
    pub async fn claim(
        &self,
        lease: &Lease,
        nodes: &[(i64, i64)],
    ) -> Result<BTreeSet<i64>, StoreError> {
        if nodes.is_empty() {
            return Ok(BTreeSet::new());
        }
        write!(self, tx => claim(tx, lease, nodes))
    }

    /// Forgets an instance whose lease has ended at least `after` ago, and releases its nodes, or moves them.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn forget(
        &self,
        name: &str,
        move_to: Option<&str>,
        after: Duration,
    ) -> Result<Forgotten, StoreError> {
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        write!(self, tx => forget(tx, name, move_to, after))
    }
}

async fn claim(
    tx: &mut Session,
    lease: &Lease,
    nodes: &[(i64, i64)],
) -> Result<BTreeSet<i64>, StoreError> {
    let seq = next_seq(tx, lease, 1).await?;
    let (name, engine) = (&lease.name, tx.engine());
    let mut taken = 0;
    for batch in nodes.chunks(BATCH) {
        let batch: Vec<Claim> = batch.iter().map(|&(id, epoch)| Claim { id, epoch }).collect();
        let batch = batch::rows(engine, &batch)?;
        taken += match engine {
            Engine::MySql => {
                tx.execute(dialect::claim(engine), args![&batch, name, name, seq]).await?
            }
            _ => tx.execute(dialect::claim(engine), args![name, name, seq, &batch]).await?,
        };
    }
    if taken == nodes.len() as u64 {
        return Ok(nodes.iter().map(|(id, _)| *id).collect());
    }
    let ids: Vec<(i64,)> = tx.all(CLAIMED, args![name, seq]).await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

async fn forget(
    tx: &mut Session,
    name: &str,
    move_to: Option<&str>,
    after: i64,
) -> Result<Forgotten, StoreError> {
    if tx.execute(FORGET, args![name, after]).await? == 0 {
        let there = tx.number(IS_THERE, args![name]).await?.unwrap_or(0);
        return Ok(if there == 0 { Forgotten::Unknown } else { Forgotten::Live });
    }
    let nodes = if let Some(other) = move_to {
        tx.execute(MOVE_PLACED, args![other, name]).await?;
        tx.execute(MOVE_REGISTERED, args![other, name]).await?;
        tx.execute(MOVE_OWNED, args![other, name]).await?
    } else {
        tx.execute(RELEASE_NODES, args![name]).await?
    };
    // What it found nobody looks at any more.
    tx.execute(DROP_FINDINGS, args![name]).await?;
    super::nodes::bump(tx).await?;
    Ok(Forgotten::Done(nodes))
}
