//! The schema: its embedded migrations, and how far a database has come.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;

use super::{Store, StoreError};

/// Our own bookkeeping table: hosts have tables called `migrations` and `_sqlx_migrations` of their own.
const TABLE: &str = "procwarden_schema";

/// How long another program's migration is waited for.
const TURN_LIMIT: Duration = Duration::from_secs(30);

/// How often it is asked for meanwhile.
const TURN_PAUSE: Duration = Duration::from_millis(20);

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// The migrations that this program carries: version and name.
#[must_use]
pub fn embedded() -> Vec<(i64, String)> {
    migrator().iter().map(|m| (m.version, m.description.to_string())).collect()
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
        let _turn = turn(&self.path).await?;
        Ok(migrator().run(&self.pool).await?)
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
        let tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'procwarden_schema'",
        )
        .fetch_one(&self.pool)
        .await?;
        if tables == 0 {
            return Ok(0);
        }
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT MAX(version) FROM procwarden_schema WHERE success")
                .fetch_one(&self.pool)
                .await?;
        Ok(newest.unwrap_or(0))
    }
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
    fn the_embedded_list_is_the_directory() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
        let mut files: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<String> = embedded()
            .into_iter()
            .map(|(version, name)| format!("{version:04}_{}.sql", name.replace(' ', "_")))
            .collect();
        assert_eq!(files, listed);
    }
}
