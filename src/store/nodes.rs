//! Nodes as rows: reading them all, and the registry's writes.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::identity::IdentityColumns;
use super::{Store, StoreError};
use crate::domain::node::{Method, Node, Password, Tls};
use crate::domain::observation::Reason;
use crate::domain::verdict::{State, Verdict};
use crate::domain::{Timestamp, Uptime};

/// Where a node came from; only those of the configuration are pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `POST /nodes` or `procwarden nodes add`.
    User,
    /// `[[node]]`.
    Config,
}

impl Origin {
    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Config => "config",
        }
    }
}

/// A node to be inserted; its id is the database's. `node.id` is ignored.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// What it is.
    pub node: Node,
    /// Where it came from.
    pub origin: Origin,
}

/// One write of the registry.
#[derive(Debug, Clone)]
pub enum NodeWrite {
    /// A new node.
    Insert(NewNode),
    /// What its operator says of a node.
    Update {
        /// As it shall be.
        node: Node,
        /// The version that it was made from.
        version: i64,
        /// What is checked is another thing now.
        reset: bool,
    },
    /// No such node any more.
    Delete(i64),
}

type Tx<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNode {
    /// What its operator says, and the identity last observed.
    pub node: Node,
    /// Grows with each write of the registry, so that a verdict on what it was before is not recorded.
    pub version: i64,
    /// Whether it came from the configuration.
    pub from_config: bool,
    /// The last recorded verdict; its age on the boot clock is not known here.
    pub verdict: Verdict,
}

/// The columns of a node; both statements are spelled out by the compiler, none at run time.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, origin, instance, name, title, host, port, tls, username, password, daemon, \
     pid, pid_file, process_name, available, state, reason, message, method, worked_data, checked_at, \
     since, latency_ms, streak, boot_id, pid_ns, identity_pid, start_ticks, pidfd_inode FROM procwarden_nodes ",
            $rest
        )
    };
}

const ALL: &str = select!("ORDER BY id");
const ONE: &str = select!("WHERE id = ? OR name = ?");

impl FromRow<'_, SqliteRow> for StoredNode {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let identity = IdentityColumns::from_row(row)?.into_identity();
        let port: i64 = row.try_get("port")?;
        let tls: String = row.try_get("tls")?;
        let state: String = row.try_get("state")?;
        let reason: Option<String> = row.try_get("reason")?;
        let method: Option<String> = row.try_get("method")?;
        let latency: Option<i64> = row.try_get("latency_ms")?;
        let node = Node {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            title: row.try_get("title")?,
            host: row.try_get("host")?,
            port: u16::try_from(port).map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            tls: tls.parse::<Tls>().map_err(|e| sqlx::Error::Decode(e.into()))?,
            username: row.try_get("username")?,
            password: row.try_get::<Option<String>, _>("password")?.map(Password::new),
            daemon: row.try_get("daemon")?,
            pid: row.try_get("pid")?,
            pid_file: row.try_get("pid_file")?,
            process_name: row.try_get("process_name")?,
            available: row.try_get::<i64, _>("available")? != 0,
            instance: row.try_get("instance")?,
            placement: None,
            identity: identity.clone(),
        };
        let verdict = Verdict {
            state: State::parse(&state),
            reason: reason.as_deref().and_then(Reason::parse),
            message: row.try_get("message")?,
            method: method.and_then(|word| word.parse::<Method>().ok()),
            data: row.try_get("worked_data")?,
            checked_at: row.try_get::<Option<i64>, _>("checked_at")?.map(Timestamp),
            checked_up: None::<Uptime>,
            since: row.try_get::<Option<i64>, _>("since")?.map(Timestamp),
            latency_ms: latency.and_then(|ms| u32::try_from(ms).ok()),
            identity,
            streak: u32::try_from(row.try_get::<i64, _>("streak")?).unwrap_or(0),
        };
        Ok(Self {
            node,
            version: row.try_get("version")?,
            from_config: row.try_get::<String, _>("origin")? == Origin::Config.as_str(),
            verdict,
        })
    }
}

impl Store {
    /// Every node, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn nodes(&self) -> Result<Vec<StoredNode>, StoreError> {
        Ok(sqlx::query_as(ALL).fetch_all(&self.pool).await?)
    }

    /// A node by its id, or by its name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn node(
        &self,
        id: Option<i64>,
        name: &str,
    ) -> Result<Option<StoredNode>, StoreError> {
        // One of the two is bound to nothing that a row can have.
        let name = if id.is_some() { None } else { Some(name) };
        Ok(sqlx::query_as(ONE).bind(id).bind(name).fetch_optional(&self.pool).await?)
    }

    /// Writes the registry, all in one transaction. For each write the id of the node, or `None` if there is no such
    /// node, or not of that version: somebody else was faster.
    ///
    /// # Errors
    /// [`StoreError::DuplicateName`], [`StoreError::Database`]: then nothing is written.
    pub async fn write_nodes(
        &self,
        writes: &[NodeWrite],
        now: Timestamp,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let mut tx = self.begin().await?;
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            written.push(match write {
                NodeWrite::Insert(new) => Some(insert(&mut tx, new, now).await?),
                NodeWrite::Update { node, version, reset } => {
                    update(&mut tx, node, *version, *reset, now).await?.then_some(node.id)
                }
                NodeWrite::Delete(id) => delete(&mut tx, *id).await?.then_some(*id),
            });
        }
        bump(&mut tx).await?;
        tx.commit().await?;
        Ok(written)
    }

    /// Grows with each write of the registry, by whichever process.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let revision: Option<i64> =
            sqlx::query_scalar("SELECT revision FROM procwarden_revision WHERE name = 'nodes'")
                .fetch_optional(&self.pool)
                .await?;
        Ok(revision.unwrap_or(0))
    }
}

async fn insert(tx: &mut Tx<'_>, new: &NewNode, now: Timestamp) -> Result<i64, StoreError> {
    let node = &new.node;
    let done = sqlx::query(
        "INSERT INTO procwarden_nodes \
         (version, origin, instance, name, title, host, port, tls, username, password, daemon, pid, \
         pid_file, process_name, available, state, message, worked, created_at, updated_at) \
         VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'unknown', '', 0, ?, ?)",
    )
    .bind(new.origin.as_str())
    .bind(&node.instance)
    .bind(&node.name)
    .bind(&node.title)
    .bind(&node.host)
    .bind(i64::from(node.port))
    .bind(node.tls.as_str())
    .bind(&node.username)
    .bind(node.password.as_ref().map(Password::expose))
    .bind(&node.daemon)
    .bind(node.pid)
    .bind(&node.pid_file)
    .bind(&node.process_name)
    .bind(i64::from(node.available))
    .bind(now.0)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(|error| duplicate(error, &node.name))?;
    Ok(done.last_insert_rowid())
}

/// When what is checked changed (`reset`), the verdict is forgotten: it was another node's.
async fn update(
    tx: &mut Tx<'_>,
    node: &Node,
    version: i64,
    reset: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE procwarden_nodes SET version = version + 1, name = ?, title = ?, host = ?, port = ?, tls = ?, \
         username = ?, password = ?, daemon = ?, pid = ?, pid_file = ?, process_name = ?, \
         available = ?, updated_at = ? WHERE id = ? AND version = ?",
    )
    .bind(&node.name)
    .bind(&node.title)
    .bind(&node.host)
    .bind(i64::from(node.port))
    .bind(node.tls.as_str())
    .bind(&node.username)
    .bind(node.password.as_ref().map(Password::expose))
    .bind(&node.daemon)
    .bind(node.pid)
    .bind(&node.pid_file)
    .bind(&node.process_name)
    .bind(i64::from(node.available))
    .bind(now.0)
    .bind(node.id)
    .bind(version)
    .execute(&mut **tx)
    .await
    .map_err(|error| duplicate(error, &node.name))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if reset {
        sqlx::query(
            "UPDATE procwarden_nodes SET state = 'unknown', reason = NULL, message = '', method = NULL, \
             worked = 0, worked_data = NULL, checked_at = NULL, since = NULL, latency_ms = NULL, streak = 0, \
             host_id = NULL, boot_id = NULL, pid_ns = NULL, identity_pid = NULL, \
             start_ticks = NULL, pidfd_inode = NULL WHERE id = ?",
        )
        .bind(node.id)
        .execute(&mut **tx)
        .await?;
    }
    Ok(true)
}

async fn delete(tx: &mut Tx<'_>, id: i64) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM procwarden_nodes WHERE id = ?")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() > 0)
}

async fn bump(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO procwarden_revision (name, revision) VALUES ('nodes', 1) \
         ON CONFLICT (name) DO UPDATE SET revision = procwarden_revision.revision + 1",
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn duplicate(error: sqlx::Error, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(db) if db.is_unique_violation() => {
            StoreError::DuplicateName(name.to_owned())
        }
        _ => error.into(),
    }
}
