//! Nodes: reading them, and the registry's writes.

use super::db::{Arg, Session, args};
use super::keys::StoreKeys;
use super::node_row::{NodeRow, select};
use super::origin::Origin;
use super::{Store, StoreError, StoredNode, alerts, dialect, single, write};
use crate::domain::Timestamp;
use crate::domain::alert::Rules;
use crate::domain::node::{Node, Password};

/// A node to be inserted. Its id is the database's, unless the node is adopted; else `node.id` is ignored.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// What it is.
    pub node: Node,
    /// Where it came from.
    pub origin: Origin,
    /// Who answers for it at first.
    pub owner: String,
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

pub(super) const ALL: &str = select!("ORDER BY id");
pub(super) const BY_ID: &str = select!("WHERE id = ?");
pub(super) const BY_NAME: &str = select!("WHERE name = ?");
pub(super) const REVISION: &str = "SELECT revision FROM procwarden_revision WHERE name = 'nodes'";
pub(super) const BUMP: &str =
    "UPDATE procwarden_revision SET revision = revision + 1 WHERE name = 'nodes'";
pub(super) const INSERT: &str = "INSERT INTO procwarden_nodes \
     (version, origin, instance, placement, maintenance_until, owner, name, title, host, port, tls, username, password, daemon, pid, \
     pid_file, process_name, kind, params, available, state, message, worked, created_at, updated_at) \
     VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'unknown', '', 0, ?, ?)";
pub(super) const INSERT_AS: &str = "INSERT INTO procwarden_nodes \
     (id, version, origin, instance, placement, maintenance_until, owner, name, title, host, port, tls, username, password, daemon, \
     pid, pid_file, process_name, kind, params, available, state, message, worked, created_at, updated_at) \
     VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'unknown', '', 0, ?, ?)";
pub(super) const COUNT_OWN: &str =
    "SELECT COUNT(*) FROM procwarden_nodes WHERE origin <> 'adopted'";
pub(super) const ID_OF: &str = "SELECT id FROM procwarden_nodes WHERE name = ?";
pub(super) const UPDATE: &str = "UPDATE procwarden_nodes SET version = version + 1, instance = ?, placement = ?, maintenance_until = ?, name = ?, title = ?, \
     host = ?, port = ?, tls = ?, username = ?, password = ?, daemon = ?, pid = ?, pid_file = ?, process_name = ?, \
     kind = ?, params = ?, available = ?, updated_at = ? WHERE id = ? AND version = ?";
pub(super) const RESET: &str = "UPDATE procwarden_nodes SET state = 'unknown', reason = NULL, message = '', method = NULL, \
     worked = 0, worked_data = NULL, checked_at = NULL, since = NULL, latency_ms = NULL, streak = 0, host_id = NULL, \
     boot_id = NULL, pid_ns = NULL, identity_pid = NULL, start_ticks = NULL, pidfd_inode = NULL WHERE id = ?";
pub(super) const SET_PASSWORD: &str = "UPDATE procwarden_nodes SET password = ? WHERE id = ?";
pub(super) const DELETE: &str = "DELETE FROM procwarden_nodes WHERE id = ?";

impl Store {
    /// Rows as nodes, with their passwords opened.
    pub(super) fn stored(&self, rows: Vec<NodeRow>) -> Result<Vec<StoredNode>, StoreError> {
        rows.into_iter().map(|row| self.stored_one(row)).collect()
    }

    fn stored_one(&self, row: NodeRow) -> Result<StoredNode, StoreError> {
        let mut stored = StoredNode::try_from(row)?;
        if let Some(password) = stored.node.password.as_mut() {
            self.keys.open(stored.node.id, password);
        }
        Ok(stored)
    }

    /// Every node, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn nodes(&self) -> Result<Vec<StoredNode>, StoreError> {
        self.stored(single!(self, session => session.all(ALL, &[]))?)
    }

    /// A node by its id, or by its name.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn node(
        &self,
        id: Option<i64>,
        name: &str,
    ) -> Result<Option<StoredNode>, StoreError> {
        let row: Option<NodeRow> = match id {
            Some(id) => single!(self, session => session.first(BY_ID, args![id]))?,
            None => single!(self, session => session.first(BY_NAME, args![name]))?,
        };
        row.map(|row| self.stored_one(row)).transpose()
    }

    /// Writes the registry, all in one transaction. For each write the id of the node, or `None` if there is no such
    /// node, or not of that version: somebody else was faster.
    ///
    /// # Errors
    /// [`StoreError::DuplicateName`], [`StoreError::NoKey`], [`StoreError::Database`]: then nothing is written.
    pub async fn write_nodes(
        &self,
        writes: &[NodeWrite],
        now: Timestamp,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        self.write_nodes_telling(writes, now, &|| {}).await
    }

    /// The same, where somebody waits: `step` is called after each write; again, if the transaction has to be tried again.
    ///
    /// # Errors
    /// As above.
    pub async fn write_nodes_telling(
        &self,
        writes: &[NodeWrite],
        now: Timestamp,
        step: &(dyn Fn() + Sync),
    ) -> Result<Vec<Option<i64>>, StoreError> {
        write!(self, tx => write_all(tx, (&self.keys, &self.alerts), writes, now, step))
    }

    /// How many nodes are not mirrored from a table that is not ours.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn count_own_nodes(&self) -> Result<i64, StoreError> {
        Ok(single!(self, session => session.number(COUNT_OWN, &[]))?.unwrap_or(0))
    }

    /// Grows with each write of the registry, by whichever process.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let revision = single!(self, session => session.number(REVISION, &[]))?;
        Ok(revision.unwrap_or(0))
    }
}

async fn write_all(
    tx: &mut Session,
    (keys, rules): (&StoreKeys, &Rules),
    writes: &[NodeWrite],
    now: Timestamp,
    step: &(dyn Fn() + Sync),
) -> Result<Vec<Option<i64>>, StoreError> {
    let mut written = Vec::with_capacity(writes.len());
    let mut given = None;
    for write in writes {
        written.push(match write {
            NodeWrite::Insert(new) if new.origin == Origin::Adopted => {
                insert_as(tx, new, now).await?;
                given = given.max(Some(new.node.id));
                Some(new.node.id)
            }
            NodeWrite::Insert(new) => Some(insert(tx, keys, new, now).await?),
            NodeWrite::Update { node, version, reset } => {
                update(tx, keys, node, (*version, *reset), now).await?.then_some(node.id)
            }
            NodeWrite::Delete(id) => {
                alerts::of_removal(tx, rules, *id, now).await?;
                (tx.execute(DELETE, args![*id]).await? > 0).then_some(*id)
            }
        });
        crate::failpoint::at("node-written");
        step();
    }
    bump(tx).await?;
    // Under the lock on the revision's row: of two writers none moves the next id back.
    if let (Some(id), Some(statement)) = (given, dialect::move_past(tx.engine())) {
        tx.number(statement, args![id]).await?;
    }
    Ok(written)
}

async fn insert(
    tx: &mut Session,
    keys: &StoreKeys,
    new: &NewNode,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let name = &new.node.name;
    let (password, params) = (new.node.password.as_ref(), new.node.service.params_text());
    let as_it_is = password.and_then(Password::storable);
    let columns = columns(new, as_it_is.as_deref(), params.as_deref(), now);
    tx.execute(INSERT, &columns).await.map_err(|error| duplicate(error, name))?;
    // Read back: no way to ask for the new id is common to the engines.
    let id = tx.number(ID_OF, args![name]).await?.unwrap_or_default();
    // What is sealed is bound to the id.
    if let Some(password) = password.filter(|_| as_it_is.is_none()) {
        tx.execute(SET_PASSWORD, args![&keys.seal(id, password)?, id]).await?;
    }
    Ok(id)
}

/// With the id that the node has already.
async fn insert_as(tx: &mut Session, new: &NewNode, now: Timestamp) -> Result<(), StoreError> {
    let (id, params) = (Arg::from(new.node.id), new.node.service.params_text());
    let password = new.node.password.as_ref().map(Password::expose);
    let columns = columns(new, password, params.as_deref(), now);
    let values: Vec<Arg<'_>> = std::iter::once(id).chain(columns).collect();
    let done = tx.execute(INSERT_AS, &values).await;
    done.map(drop).map_err(|error| duplicate(error, &new.node.name))
}

/// In the order of [`INSERT`].
fn columns<'a>(
    new: &'a NewNode,
    password: Option<&'a str>,
    params: Option<&'a str>,
    now: Timestamp,
) -> [Arg<'a>; 21] {
    let node = &new.node;
    [
        new.origin.as_str().into(),
        (&node.instance).into(),
        (&node.placement).into(),
        node.maintenance_until.map(|until| until.0).into(),
        (&new.owner).into(),
        (&node.name).into(),
        (&node.title).into(),
        (&node.host).into(),
        i64::from(node.port).into(),
        node.tls.as_str().into(),
        (&node.username).into(),
        password.into(),
        (&node.daemon).into(),
        node.pid.into(),
        (&node.pid_file).into(),
        (&node.process_name).into(),
        node.service.kind.as_str().into(),
        params.into(),
        i64::from(node.available).into(),
        now.0.into(),
        now.0.into(),
    ]
}

/// When what is checked changed (`reset`), the verdict is forgotten: it was another node's.
async fn update(
    tx: &mut Session,
    keys: &StoreKeys,
    node: &Node,
    (version, reset): (i64, bool),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let password = node.password.as_ref().map(|it| keys.seal(node.id, it)).transpose()?;
    let params = node.service.params_text();
    let changed = tx
        .execute(
            UPDATE,
            args![
                &node.instance,
                &node.placement,
                node.maintenance_until.map(|until| until.0),
                &node.name,
                &node.title,
                &node.host,
                i64::from(node.port),
                node.tls.as_str(),
                &node.username,
                &password,
                &node.daemon,
                node.pid,
                &node.pid_file,
                &node.process_name,
                node.service.kind.as_str(),
                &params,
                i64::from(node.available),
                now.0,
                node.id,
                version,
            ],
        )
        .await
        .map_err(|error| duplicate(error, &node.name))?;
    if changed > 0 && reset {
        tx.execute(RESET, args![node.id]).await?;
    }
    Ok(changed > 0)
}

/// Tells every server that the registry is another one now.
pub(super) async fn bump(tx: &mut Session) -> Result<(), StoreError> {
    tx.execute(BUMP, &[]).await.map(drop)
}

fn duplicate(error: StoreError, name: &str) -> StoreError {
    match &error {
        StoreError::Database(sqlx::Error::Database(database)) if database.is_unique_violation() => {
            StoreError::DuplicateName(name.to_owned())
        }
        _ => error,
    }
}
