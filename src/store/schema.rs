//! The schema: its embedded migrations, and how far a database has come.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions as _, MySqlConnection};

use super::db::{Db, Session};
use super::{Engine, Store, StoreError, connect, dialect, single};
use crate::config::Database;

/// Our own bookkeeping table: hosts have tables called `migrations` and `_sqlx_migrations` of their own.
const TABLE: &str = "procwarden_schema";

/// How long another program's migration is waited for.
const TURN_LIMIT: Duration = Duration::from_secs(30);

/// How often it is asked for meanwhile.
const TURN_PAUSE: Duration = Duration::from_millis(20);

/// The lock under which MySQL's schema is changed: its name holds for the whole server, so it has the database's in it.
const MYSQL_LOCK: &str = "SELECT GET_LOCK(CONCAT(LEFT(DATABASE(), 40), '.procwarden.migrate'), ?)";

fn migrator(engine: Engine) -> Migrator {
    let mut migrator = match engine {
        Engine::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Engine::Postgres => sqlx::migrate!("migrations/postgres"),
        Engine::MySql => sqlx::migrate!("migrations/mysql"),
    };
    migrator.dangerous_set_table_name(TABLE);
    // Its own lock does nothing on MariaDB (`GET_LOCK(?, -1)` is NULL there, measured), and SQLite has none.
    migrator.set_locking(engine == Engine::Postgres);
    migrator
}

/// The migrations that this program carries: version and name, the same for every engine.
#[must_use]
pub fn embedded() -> Vec<(i64, String)> {
    listed(Engine::Sqlite)
}

fn listed(engine: Engine) -> Vec<(i64, String)> {
    migrator(engine).iter().map(|m| (m.version, m.description.to_string())).collect()
}

/// One migration as `procwarden migrate --status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl Store {
    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer program made it, [`StoreError::Migrate`] if it cannot be done.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.refuse_newer_schema().await?;
        if self.newest_applied().await? == newest_known() {
            return Ok(());
        }
        match &self.db {
            Db::Sqlite(pool) => {
                let path = self.path().unwrap_or(Path::new("."));
                let _turn = turn(path).await?;
                Ok(migrator(Engine::Sqlite).run(pool).await?)
            }
            Db::Postgres(_) => {
                let pool = connect::postgres_for_migrations(&self.settings, TURN_LIMIT).await?;
                let done = migrator(Engine::Postgres).run(&pool).await;
                pool.close().await;
                Ok(done?)
            }
            Db::MySql(pool) => {
                let lock = mysql_turn(&self.settings).await?;
                let done = migrator(Engine::MySql).run(pool).await;
                // The lock ends with its connection, however that ends.
                drop(lock);
                Ok(done?)
            }
        }
    }

    /// Every migration and whether the database has it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn schema_status(&self) -> Result<Vec<SchemaState>, StoreError> {
        let newest = self.newest_applied().await?;
        Ok(embedded()
            .into_iter()
            .map(|(version, name)| SchemaState { version, name, applied: version <= newest })
            .collect())
    }

    pub(super) async fn require_current_schema(&self) -> Result<(), StoreError> {
        let found = self.newest_applied().await?;
        let wanted = newest_known();
        if found < wanted {
            return Err(StoreError::OlderSchema { found, wanted });
        }
        self.refuse_newer_schema().await
    }

    async fn refuse_newer_schema(&self) -> Result<(), StoreError> {
        let found = self.newest_applied().await?;
        let known = newest_known();
        if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(()) }
    }

    async fn newest_applied(&self) -> Result<i64, StoreError> {
        Ok(single!(self, session => newest(session))?.unwrap_or(0))
    }
}

async fn newest(session: &mut Session) -> Result<Option<i64>, StoreError> {
    let tables = session.number(dialect::schema_tables(session.engine()), &[]).await?;
    if tables.unwrap_or(0) == 0 {
        return Ok(None);
    }
    session.number(NEWEST, &[]).await
}

pub(super) const NEWEST: &str = "SELECT MAX(version) FROM procwarden_schema WHERE success";

/// A connection of its own that holds the lock: migrations take theirs from the pool.
async fn mysql_turn(settings: &Database) -> Result<MySqlConnection, StoreError> {
    let options = connect::mysql_options(settings)?;
    let mut connection = options
        .connect()
        .await
        .map_err(|error| StoreError::opening(settings.url.expose(), error))?;
    let limit = i64::try_from(TURN_LIMIT.as_secs()).unwrap_or(i64::MAX);
    let got: Option<i64> =
        sqlx::query_scalar(MYSQL_LOCK).bind(limit).fetch_one(&mut connection).await?;
    if got == Some(1) { Ok(connection) } else { Err(StoreError::Busy(TURN_LIMIT)) }
}

/// SQLite has no lock for what only one may do: making a file a database, and migrations (of six concurrent first starts
/// three failed, measured). This one is on the database's directory, held until the file is dropped: one on the
/// database file itself would end SQLite's own when it is closed (`fcntl(2)`).
pub(super) async fn turn(database: &Path) -> Result<File, StoreError> {
    let parent = database.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = parent.unwrap_or_else(|| Path::new("."));
    let fail = |source| StoreError::Turn { path: directory.to_owned(), source };
    let file = File::open(directory).map_err(fail)?;
    let end = Instant::now() + TURN_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                tokio::time::sleep(TURN_PAUSE).await;
            }
            Err(error) => return Err(fail(error.into())),
        }
    }
}

fn newest_known() -> i64 {
    embedded().last().map_or(0, |(version, _)| *version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_lists_are_the_directories_and_the_same() {
        for (engine, name) in
            [(Engine::Sqlite, "sqlite"), (Engine::Postgres, "postgres"), (Engine::MySql, "mysql")]
        {
            let dir = format!("{}/migrations/{name}", env!("CARGO_MANIFEST_DIR"));
            let mut files: Vec<String> = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let listed: Vec<String> = listed(engine)
                .into_iter()
                .map(|(version, name)| format!("{version:04}_{}.sql", name.replace(' ', "_")))
                .collect();
            assert_eq!(files, listed, "{name}");
            assert_eq!(self::listed(engine), embedded(), "{name}");
        }
    }
}
