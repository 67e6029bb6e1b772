//! The store: the only place that knows sqlx. Every method is one transaction; none is held across a probe.
//!
//! Rows that change together change in one transaction: a flip, its event and its outbox rows.

mod error;
mod events;
mod identity;
mod instances;
mod migrations;
mod nodes;
mod schema;
mod server_lock;
#[cfg(test)]
mod tests;
mod verdicts;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use crate::domain::node::Password;

pub use error::StoreError;
pub use events::Event;
pub use instances::{Beat, InstanceRow};
pub use migrations::{Applied, StoredMigration};
pub use nodes::{NewNode, NodeWrite, Origin, StoredNode};
pub use schema::{SchemaState, embedded};
pub use server_lock::{LockHeld, ServerLock};
pub use verdicts::VerdictWrite;

/// How long a writer waits for another one before it is an error. Readers never wait (WAL).
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a call waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections: one writer at a time is all SQLite has, the others are readers.
const MAX_CONNECTIONS: u32 = 4;

/// What to do where there is no database, or an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Make it, or bring it up to date.
    Create,
    /// Fail.
    Existing,
}

/// The database; cheap to clone, all clones share one pool.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
    /// Device and inode of the file that was opened.
    file: (u64, u64),
}

impl Store {
    /// Opens the database that the URL names.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::OlderSchema`] with [`Open::Existing`]; [`StoreError::NewerSchema`],
    /// [`StoreError::Url`], [`StoreError::Open`] always.
    pub async fn open(url: &Password, open: Open) -> Result<Self, StoreError> {
        let store = Self::connect(url, open).await?;
        match open {
            Open::Create => store.migrate().await?,
            Open::Existing => store.require_current_schema().await?,
        }
        Ok(store)
    }

    /// Opens the database without looking at its schema.
    ///
    /// # Errors
    /// As [`Store::open`], without the schema's.
    pub async fn connect(url: &Password, open: Open) -> Result<Self, StoreError> {
        let path = sqlite_path(url.expose())?;
        if open == Open::Existing && !path.exists() {
            return Err(StoreError::Missing(path));
        }
        let unopenable = |source| StoreError::unopenable(url.expose(), source);
        let mut turn = None;
        if open == Open::Create {
            make_private(&path).map_err(unopenable)?;
            // The change to WAL is refused at once, without waiting, while another makes it.
            if std::fs::metadata(&path).map_err(unopenable)?.len() == 0 {
                turn = Some(schema::turn(&path).await?);
            }
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(open == Open::Create)
            .journal_mode(SqliteJournalMode::Wal)
            // A row that says `error` must survive a power cut: its lock is removed right after.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // A log of every statement drowns what operators look for, and holds values.
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // SQLite rolls back by itself when the disk is full, at I/O errors and without memory (its page on
            // transactions); sqlx then counts a transaction for ever, and no other would begin on that connection.
            .before_acquire(|connection, _| {
                let is_free = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_free) })
            })
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Open { url: redacted(url.expose()), source })?;
        drop(turn);
        let file = file_at(&path).map_err(unopenable)?;
        Ok(Self { pool, path, file })
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Asks the database for one row.
    ///
    /// # Errors
    /// [`StoreError::Database`] if it does not answer, [`StoreError::Replaced`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.require_in_place()?;
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// A write into a file that was removed succeeds and is lost, and the lock of the job would go all the same.
    fn require_in_place(&self) -> Result<(), StoreError> {
        match file_at(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) => Err(StoreError::Replaced { path: self.path.clone(), source: None }),
            Err(source) => {
                Err(StoreError::Replaced { path: self.path.clone(), source: Some(source) })
            }
        }
    }

    /// A transaction that is a writer from its start: a read that turns into a write would get BUSY at once.
    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, StoreError> {
        self.require_in_place()?;
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Makes an empty file that only its owner may read, where there is none: passwords of nodes stand in it. SQLite gives
/// the files beside it the same permissions.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Device and inode of a file.
fn file_at(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|it| (it.dev(), it.ino()))
}

/// The file that a `sqlite://` URL names.
///
/// # Errors
/// [`StoreError::Url`] for any other URL.
pub fn sqlite_path(url: &str) -> Result<PathBuf, StoreError> {
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .map(|rest| rest.split('?').next().unwrap_or(rest))
        .filter(|path| !path.is_empty())
        .ok_or_else(|| StoreError::Url(format!("'{}' is no sqlite:// URL", redacted(url))))?;
    Ok(PathBuf::from(path))
}

/// A URL without its userinfo and query.
#[must_use]
pub fn redacted(url: &str) -> String {
    let url = url.split('?').next().unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}
