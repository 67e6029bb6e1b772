//! Reading some of the nodes: those that changed, those with certain ids or names.

use super::batch::{self, BATCH};
use super::db::args;
use super::node_row::{NodeRow, select};
use super::{Engine, Store, StoreError, StoredNode, single};

pub(super) const CHANGED: &str = select!("WHERE writer = ? AND change_seq > ? ORDER BY id");
pub(super) const OF_CONFIG: &str = select!("WHERE origin = 'config' ORDER BY id");
pub(super) const ADOPTED: &str = select!("WHERE origin = 'adopted' ORDER BY id");
pub(super) const VERSIONS: &str =
    "SELECT id, version, owner_epoch FROM procwarden_nodes ORDER BY id";

/// What tells whether a row is the one that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct NodeVersion {
    /// The node.
    pub id: i64,
    /// Grows with each write of the registry.
    pub version: i64,
    /// Grows each time that it is taken over.
    pub owner_epoch: i64,
}

/// Those with an id in a JSON array.
pub(super) const fn by_ids(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => select!("WHERE id IN (SELECT value FROM json_each(?))"),
        Engine::Postgres => select!(
            "WHERE id IN (SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(? AS json)))"
        ),
        Engine::MySql => select!(
            "WHERE id IN (SELECT v.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS v)"
        ),
    }
}

/// Those with a name in a JSON array.
pub(super) const fn by_names(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => select!("WHERE name IN (SELECT value FROM json_each(?))"),
        Engine::Postgres => {
            select!("WHERE name IN (SELECT value FROM json_array_elements_text(CAST(? AS json)))")
        }
        Engine::MySql => select!(
            "WHERE name IN (SELECT v.name FROM JSON_TABLE(?, '$[*]' COLUMNS (name VARCHAR(128) PATH '$')) AS v)"
        ),
    }
}

impl Store {
    /// The nodes that an instance has written after the number `after`: verdicts, and those it took over.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn nodes_changed(
        &self,
        writer: &str,
        after: i64,
    ) -> Result<Vec<StoredNode>, StoreError> {
        self.stored(single!(self, session => session.all(CHANGED, args![writer, after]))?)
    }

    /// The nodes with these ids that there are.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn nodes_by_id(&self, ids: &[i64]) -> Result<Vec<StoredNode>, StoreError> {
        let mut rows: Vec<NodeRow> = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH) {
            let (statement, batch) = (by_ids(self.engine()), batch::json(batch)?);
            let more: Vec<NodeRow> =
                single!(self, session => session.all(statement, args![&batch]))?;
            rows.extend(more);
        }
        self.stored(rows)
    }

    /// The nodes with these names that there are.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn nodes_by_name(&self, names: &[&str]) -> Result<Vec<StoredNode>, StoreError> {
        let mut rows: Vec<NodeRow> = Vec::with_capacity(names.len());
        for batch in names.chunks(BATCH) {
            let (statement, batch) = (by_names(self.engine()), batch::json(batch)?);
            let more: Vec<NodeRow> =
                single!(self, session => session.all(statement, args![&batch]))?;
            rows.extend(more);
        }
        self.stored(rows)
    }

    /// The nodes that the configuration brought.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn nodes_of_config(&self) -> Result<Vec<StoredNode>, StoreError> {
        self.stored(single!(self, session => session.all(OF_CONFIG, &[]))?)
    }

    /// The nodes that are mirrored from a table that is not ours, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn adopted_nodes(&self) -> Result<Vec<StoredNode>, StoreError> {
        self.stored(single!(self, session => session.all(ADOPTED, &[]))?)
    }

    /// Of every node, by id, what tells whether it has to be read again.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn node_versions(&self) -> Result<Vec<NodeVersion>, StoreError> {
        single!(self, session => session.all(VERSIONS, &[]))
    }
}
