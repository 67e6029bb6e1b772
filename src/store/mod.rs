//! The store: the only place that knows sqlx. Every method is one transaction; none is held across a probe.
//!
//! One store for three engines: each query is written once (`db.rs` runs it, `dialect.rs` has what differs). Rows that
//! change together change in one transaction: a flip, its event and its outbox rows.

mod alerts;
mod batch;
mod connect;
mod db;
mod dialect;
mod error;
mod events;
mod file;
mod findings;
mod fleet;
mod history;
mod identity;
mod instances;
mod keys;
mod migration_update;
mod migrations;
mod node_reads;
mod node_row;
mod nodes;
mod origin;
mod outbox;
mod schema;
mod server_lock;
mod statements;
#[cfg(test)]
mod tests;
mod their_columns;
mod their_migrations;
mod their_nodes;
mod verdict_statements;
mod verdicts;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Database;
use crate::domain::alert::Rules;

pub use crate::config::Engine;
pub use alerts::Standing;
pub use error::StoreError;
pub use events::{Event, RecordedEvent};
pub use file::sqlite_path;
pub use findings::Finding;
pub use fleet::{Fleet, Forgotten};
pub use history::Place;
pub use instances::{Beat, Holder, InstanceRow, Lease};
pub use keys::KeyError as PasswordKeyError;
pub use migrations::{Applied, StoredMigration, Tells};
pub use node_reads::NodeVersion;
pub use node_row::StoredNode;
pub use nodes::{NewNode, NodeWrite};
pub use origin::Origin;
pub use outbox::{Delivery, OutboxState};
pub use schema::{SchemaState, embedded};
pub use server_lock::{LockHeld, ServerLock};
pub use their_migrations::{TheirMigrations, TheirWrite};
pub use their_nodes::{TheirFault, TheirNode, TheirNodesTable, Told};
pub use verdicts::VerdictWrite;

use connect::{Opened, Recycle};
use db::{Db, Session};
use file::DatabaseFile;
use keys::StoreKeys;

/// How often a transaction is tried that others were in the way of.
const TRIES: u32 = 8;

/// How long is waited before the first of those; each later one waits twice as long.
const PAUSE: Duration = Duration::from_millis(5);

/// How often a server is asked for that does not answer yet.
const WAIT_PAUSE: Duration = Duration::from_millis(250);

/// Works again while others' transactions are in the way.
///
/// Macros, not functions that take closures: rustc cannot prove futures of async closures that borrow to be `Send`.
macro_rules! patiently {
    ($work:expr) => {{
        let mut tries = 1;
        loop {
            match $work.await {
                Err(StoreError::Conflict(_)) if tries < $crate::store::TRIES => {
                    tokio::time::sleep($crate::store::PAUSE * 2_u32.pow(tries - 1)).await;
                    tries += 1;
                }
                result => break result,
            }
        }
    }};
}
use patiently;

/// One statement that commits by itself, within the time that it may take.
macro_rules! single {
    ($store:ident, $session:ident => $work:expr) => {
        $crate::store::patiently!($store.limited(Box::pin(async {
            let mut session = $store.db.session().await?;
            let $session = &mut session;
            let result = $work.await?;
            session.done();
            Ok(result)
        })))
    };
}
use single;

/// One transaction, within the time that it may take.
macro_rules! write {
    ($store:ident, $tx:ident => $work:expr) => {
        $crate::store::patiently!($store.limited(Box::pin(async {
            let mut session = $store.begin().await?;
            let $tx = &mut session;
            let result = $work.await?;
            crate::failpoint::at("in-transaction");
            session.commit().await?;
            Ok(result)
        })))
    };
}
use write;

/// What to do where there is no database, or an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Make it, or bring it up to date.
    Create,
    /// Fail.
    Existing,
    /// Fail, and change nothing of it: it is not ours.
    Reading,
}

/// The database; cheap to clone, all clones share one pool.
#[derive(Debug, Clone)]
pub struct Store {
    db: Db,
    settings: Database,
    recycle: Recycle,
    /// What is told to whom of what is written here.
    alerts: Arc<Rules>,
    /// Only SQLite's.
    file: Option<DatabaseFile>,
    /// What seals passwords.
    keys: StoreKeys,
}

impl Store {
    /// Opens the database that the settings name.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::OlderSchema`] with [`Open::Existing`]; [`StoreError::NewerSchema`],
    /// [`StoreError::Url`], [`StoreError::Open`] always.
    pub async fn open(settings: &Database, open: Open) -> Result<Self, StoreError> {
        let store = Self::connect(settings, open).await?;
        match open {
            Open::Create => {
                Box::pin(store.migrate()).await?;
                Box::pin(store.seal_passwords()).await?;
            }
            Open::Existing | Open::Reading => store.require_current_schema().await?,
        }
        Ok(store)
    }

    /// Opens the database without looking at its schema. A server that does not answer is waited for as long as
    /// `database.wait` says.
    ///
    /// # Errors
    /// As [`Store::open`], without the schema's.
    pub async fn connect(settings: &Database, open: Open) -> Result<Self, StoreError> {
        let end = tokio::time::Instant::now() + settings.wait;
        loop {
            // Three engines' ways to connect make a large future; callers need not carry it.
            match Box::pin(connect::open(settings, open)).await {
                Ok(Opened { db, recycle, file }) => {
                    let alerts = Arc::default();
                    let keys = StoreKeys::of(&settings.keys, file.as_ref(), open)?;
                    return Ok(Self {
                        db,
                        settings: settings.clone(),
                        recycle,
                        alerts,
                        file,
                        keys,
                    });
                }
                Err(error) if error.is_absence() && tokio::time::Instant::now() < end => {
                    tracing::debug!(error = error.chain(), "the database does not answer yet");
                    tokio::time::sleep(WAIT_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The same, which makes these alerts of what turns; none by default.
    #[must_use]
    pub fn alerting(self, rules: Rules) -> Self {
        Self { alerts: Arc::new(rules), ..self }
    }

    /// Which engine it is.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.db.engine()
    }

    /// Is there no other instance, ever? SQLite's file is one server's.
    #[must_use]
    pub const fn is_sole(&self) -> bool {
        matches!(self.engine(), Engine::Sqlite)
    }

    /// The database file; none for a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(DatabaseFile::path)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Asks the database for one row.
    ///
    /// # Errors
    /// [`StoreError::Database`] if it does not answer, [`StoreError::Replaced`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.require_in_place()?;
        single!(self, session => session.number("SELECT 1", &[])).map(drop)
    }

    fn require_in_place(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::require_in_place)
    }

    async fn begin(&self) -> Result<Session, StoreError> {
        self.require_in_place()?;
        self.db.begin().await
    }

    /// How long a call may take at most, as long as nobody else's transactions are in its way.
    #[must_use]
    pub fn limit(&self) -> Duration {
        let statement = match self.engine() {
            Engine::Sqlite => connect::BUSY_TIMEOUT,
            Engine::Postgres | Engine::MySql => self.settings.statement_timeout,
        };
        self.settings.connect_timeout + statement
    }

    /// A server may leave us without an answer for ever. SQLite never does: its busy timeout and the pool's end every
    /// wait, and to give up on its commit from outside would leave it unknown whether it happened.
    async fn limited<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = if self.is_sole() {
            work.await
        } else {
            let limit = self.limit();
            tokio::time::timeout(limit, work).await.unwrap_or(Err(StoreError::Timeout(limit)))
        };
        if let Err(error) = &result
            && error.wants_other_server()
        {
            self.recycle.all();
        }
        result
    }
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
