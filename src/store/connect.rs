//! Opening a pool: the URL's engine, TLS, and what every new connection is told.

use std::future::Future;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use super::db::Db;
use super::file::{DatabaseFile, make_private, sqlite_path};
use super::{Engine, Open, StoreError, redacted, schema};
use crate::config::{Database, DatabaseTls};

/// How long a writer of SQLite waits for another one before it is an error. Readers never wait (WAL).
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long is looked for the reason why no connection could be had.
const REASON_LIMIT: Duration = Duration::from_secs(1);

/// Which engine a URL names.
///
/// # Errors
/// [`StoreError::Url`] for any other.
pub(super) fn engine_of(url: &str) -> Result<Engine, StoreError> {
    match url.split(':').next().unwrap_or_default() {
        "sqlite" => Ok(Engine::Sqlite),
        "postgres" | "postgresql" => Ok(Engine::Postgres),
        "mysql" | "mariadb" => Ok(Engine::MySql),
        _ => Err(StoreError::Url(format!(
            "'{}' is none of sqlite://, postgres://, mysql://",
            redacted(url)
        ))),
    }
}

/// Tells the pool which connections are from before a moment: they are closed instead of being used again.
///
/// A server that became a read-only replica goes on answering on the connections that it has.
#[derive(Debug, Clone)]
pub(super) struct Recycle {
    began: Instant,
    /// Milliseconds since `began`.
    before: Arc<AtomicU64>,
}

impl Recycle {
    fn new() -> Self {
        Self { began: Instant::now(), before: Arc::new(AtomicU64::new(0)) }
    }

    /// No connection that stands now is used again.
    pub(super) fn all(&self) {
        self.before.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn keeps(&self, age: Duration) -> bool {
        let opened = self.now().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let before = self.before.load(Ordering::Relaxed);
        before == 0 || opened > before
    }
}

/// A pool, and the file if it is one.
pub(super) struct Opened {
    pub(super) db: Db,
    pub(super) recycle: Recycle,
    pub(super) file: Option<DatabaseFile>,
}

/// The pool's options that all engines share.
macro_rules! pool_options {
    ($options:expr, $settings:expr) => {
        $options
            .max_connections($settings.max_connections)
            .acquire_timeout($settings.connect_timeout)
            .idle_timeout($settings.idle_timeout)
            .max_lifetime($settings.max_lifetime)
    };
}

pub(super) async fn open(settings: &Database, open: Open) -> Result<Opened, StoreError> {
    match engine_of(settings.url.expose())? {
        Engine::Sqlite => sqlite(settings, open).await,
        Engine::Postgres => postgres(settings).await,
        Engine::MySql => mysql(settings).await,
    }
}

async fn sqlite(settings: &Database, open: Open) -> Result<Opened, StoreError> {
    let url = settings.url.expose();
    let path = sqlite_path(url)?.unwrap_or_default();
    if open == Open::Existing && !path.exists() {
        return Err(StoreError::Missing(path));
    }
    let unopenable = |source| StoreError::unopenable(url, source);
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
    let pool = pool_options!(SqlitePoolOptions::new(), settings)
        // SQLite rolls back by itself when the disk is full, at I/O errors and without memory (its page on
        // transactions); sqlx then counts a transaction for ever, and no other would begin on that connection.
        .before_acquire(|connection, _| {
            let is_free = !connection.is_in_transaction();
            async move { Ok(is_free) }.boxed()
        })
        .connect_with(options)
        .await
        .map_err(|source| StoreError::opening(url, source))?;
    drop(turn);
    let file = DatabaseFile::opened(path).map_err(unopenable)?;
    Ok(Opened { db: Db::Sqlite(pool), recycle: Recycle::new(), file: Some(file) })
}

fn postgres_options(settings: &Database) -> Result<PgConnectOptions, StoreError> {
    let url = settings.url.expose();
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|source| StoreError::opening(url, source))?
        .application_name("procwarden")
        .disable_statement_logging();
    if let Some(tls) = settings.tls {
        options = options.ssl_mode(match tls {
            DatabaseTls::Off => PgSslMode::Disable,
            DatabaseTls::Prefer => PgSslMode::Prefer,
            DatabaseTls::Require => PgSslMode::Require,
            DatabaseTls::VerifyCa => PgSslMode::VerifyCa,
            DatabaseTls::VerifyFull => PgSslMode::VerifyFull,
        });
    }
    if let Some(ca) = &settings.tls_ca {
        options = options.ssl_root_cert(ca);
    }
    Ok(options)
}

async fn postgres(settings: &Database) -> Result<Opened, StoreError> {
    let url = settings.url.expose();
    let options = postgres_options(settings)?;
    // Sent after the connection stands: poolers such as PgBouncer refuse them among the startup parameters.
    let told = format!(
        "SET statement_timeout = {0}; SET lock_timeout = {0}; SET idle_in_transaction_session_timeout = {0}",
        settings.statement_timeout.as_millis()
    );
    let recycle = Recycle::new();
    let pool = pool_options!(PgPoolOptions::new(), settings)
        .after_connect(move |connection, _| {
            let told = AssertSqlSafe(told.clone());
            async move { connection.execute(sqlx::raw_sql(told)).await.map(drop) }.boxed()
        })
        .before_acquire({
            let recycle = recycle.clone();
            move |_, meta| {
                let keeps = recycle.keeps(meta.age);
                async move { Ok(keeps) }.boxed()
            }
        })
        .connect_with(options.clone())
        .await;
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => return Err(StoreError::opening(url, why(error, options.connect()).await)),
    };
    Ok(Opened { db: Db::Postgres(pool), recycle, file: None })
}

/// Also for the connection that holds the migrations' lock.
pub(super) fn mysql_options(settings: &Database) -> Result<MySqlConnectOptions, StoreError> {
    let url = settings.url.expose();
    let mut options = MySqlConnectOptions::from_str(url)
        .map_err(|source| StoreError::opening(url, source))?
        .disable_statement_logging();
    if let Some(tls) = settings.tls {
        options = options.ssl_mode(match tls {
            DatabaseTls::Off => MySqlSslMode::Disabled,
            DatabaseTls::Prefer => MySqlSslMode::Preferred,
            DatabaseTls::Require => MySqlSslMode::Required,
            DatabaseTls::VerifyCa => MySqlSslMode::VerifyCa,
            DatabaseTls::VerifyFull => MySqlSslMode::VerifyIdentity,
        });
    }
    if let Some(ca) = &settings.tls_ca {
        options = options.ssl_ca(ca);
    }
    Ok(options)
}

async fn mysql(settings: &Database) -> Result<Opened, StoreError> {
    let url = settings.url.expose();
    let options = mysql_options(settings)?;
    // A value that does not fit is an error, as on the other engines; a transaction sees what others committed, so that
    // a compare-and-set reads what it compares.
    let told = format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT'; \
         SET SESSION innodb_lock_wait_timeout = {}; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        settings.statement_timeout.as_secs().max(1)
    );
    let recycle = Recycle::new();
    let pool = pool_options!(MySqlPoolOptions::new(), settings)
        .after_connect(move |connection, _| {
            let told = AssertSqlSafe(told.clone());
            async move {
                connection.execute(sqlx::raw_sql(told)).await?;
                read_your_writes(connection).await
            }
            .boxed()
        })
        .before_acquire({
            let recycle = recycle.clone();
            move |_, meta| {
                let keeps = recycle.keeps(meta.age);
                async move { Ok(keeps) }.boxed()
            }
        })
        .connect_with(options.clone())
        .await;
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => return Err(StoreError::opening(url, why(error, options.connect()).await)),
    };
    Ok(Opened { db: Db::MySql(pool), recycle, file: None })
}

/// A pool that tried in vain for its whole time says only that; a connection of its own says what stood in the way.
async fn why<C>(
    error: sqlx::Error,
    connect: impl Future<Output = Result<C, sqlx::Error>>,
) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match tokio::time::timeout(REASON_LIMIT, connect).await {
        Ok(Err(reason)) => reason,
        Ok(Ok(_)) | Err(_) => error,
    }
}

/// In a Galera cluster two connections may be at two nodes, and a node may lag behind: reads wait for what was
/// committed before them (`wsrep_sync_wait`, bit 1).
async fn read_your_writes(connection: &mut sqlx::MySqlConnection) -> Result<(), sqlx::Error> {
    let galera: Option<(String, String)> =
        sqlx::query_as("SHOW VARIABLES LIKE 'wsrep_on'").fetch_optional(&mut *connection).await?;
    if galera.is_some_and(|(_, value)| value == "ON") {
        connection.execute(sqlx::raw_sql("SET SESSION wsrep_sync_wait = 1")).await?;
    }
    Ok(())
}
