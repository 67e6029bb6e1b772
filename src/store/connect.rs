//! Opening a pool: the URL's engine, TLS, and what every new connection is told.

use std::borrow::Cow;
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
use url::Url;

use super::db::Db;
use super::file::{DatabaseFile, make_private, sqlite_path};
use super::{Engine, Open, StoreError, redacted, schema};
use crate::config::{Database, DatabaseTls};

/// How long a writer of SQLite waits for another one before it is an error. Readers never wait (WAL).
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long is looked for the reason why no connection could be had.
const REASON_LIMIT: Duration = Duration::from_secs(1);

/// Which engine a URL names.
///
/// # Errors
/// [`StoreError::Url`] for any other.
pub(super) fn engine_of(url: &str) -> Result<Engine, StoreError> {
    Engine::of(url).ok_or_else(|| {
        let url = redacted(url);
        StoreError::Url(format!("'{url}' is none of sqlite://, postgres://, mysql://"))
    })
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

/// Those of the servers.
macro_rules! server_options {
    ($options:expr, $settings:expr, $recycle:expr) => {{
        let recycle = $recycle.clone();
        pool_options!($options, $settings).before_acquire(move |_, meta| {
            let keeps = recycle.keeps(meta.age);
            async move { Ok(keeps) }.boxed()
        })
    }};
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
    if open != Open::Create && !path.exists() {
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
    let options = SqliteConnectOptions::new().filename(&path);
    let options = if open == Open::Reading {
        options.read_only(true)
    } else {
        options.create_if_missing(open == Open::Create).journal_mode(SqliteJournalMode::Wal)
    };
    let options = options
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

/// The parameters of a URL that the driver takes. It logs any other with its value, which may be a password with a
/// mistyped name.
const POSTGRES_PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The URL without the parameters that the driver does not know; their names are logged.
fn known_parameters(url: &str) -> Cow<'_, str> {
    // The driver says what is wrong with it.
    let Ok(mut parsed) = Url::parse(url) else { return Cow::Borrowed(url) };
    let is_known = |name: &str| POSTGRES_PARAMETERS.contains(&name) || name.starts_with("options[");
    let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
    let (known, unknown): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(name, _)| is_known(name));
    if unknown.is_empty() {
        return Cow::Borrowed(url);
    }
    for (name, _) in unknown {
        tracing::warn!(
            parameter = name,
            "database.url has a parameter that is not known; it is ignored"
        );
    }
    parsed.query_pairs_mut().clear().extend_pairs(known);
    Cow::Owned(parsed.into())
}

fn postgres_options(settings: &Database) -> Result<PgConnectOptions, StoreError> {
    let url = settings.url.expose();
    let mut options = PgConnectOptions::from_str(&known_parameters(url))
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
    let pool = server_options!(PgPoolOptions::new(), settings, recycle)
        .after_connect(move |connection, _| {
            let told = AssertSqlSafe(told.clone());
            async move { connection.execute(sqlx::raw_sql(told)).await.map(drop) }.boxed()
        })
        .connect_with(options.clone())
        .await;
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => return Err(StoreError::opening(url, why(error, options.connect()).await)),
    };
    Ok(Opened { db: Db::Postgres(pool), recycle, file: None })
}

/// A pool for the schema's migrations: a step over a large table may take long, and those who start at once wait for
/// each other.
pub(super) async fn postgres_for_migrations(
    settings: &Database,
    patience: Duration,
) -> Result<sqlx::PgPool, StoreError> {
    let told = format!("SET statement_timeout = 0; SET lock_timeout = {}", patience.as_millis());
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(settings.connect_timeout)
        .after_connect(move |connection, _| {
            let told = AssertSqlSafe(told.clone());
            async move { connection.execute(sqlx::raw_sql(told)).await.map(drop) }.boxed()
        })
        .connect_with(postgres_options(settings)?)
        .await
        .map_err(|source| StoreError::opening(settings.url.expose(), source))
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

/// What every connection is told.
///
/// A value that does not fit is an error, as on the other engines; a transaction sees what others committed, so that a
/// compare-and-set reads what it compares. A server that does not learn of our end (the network was cut) must not keep the
/// rows of a transaction locked for the eight hours of its `wait_timeout`, nor its threads waiting for a table for a day
/// (`lock_wait_timeout`). Only MariaDB has a limit for transactions alone.
fn mysql_session(settings: &Database) -> String {
    let seconds = settings.statement_timeout.as_secs().max(1);
    let idle = settings.idle_timeout.as_secs().saturating_add(60);
    format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT'; \
         SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}, \
         SESSION wait_timeout = {idle} /*M!100300 , SESSION idle_transaction_timeout = {seconds} */; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    )
}

async fn mysql(settings: &Database) -> Result<Opened, StoreError> {
    let url = settings.url.expose();
    let options = mysql_options(settings)?;
    let told = mysql_session(settings);
    let recycle = Recycle::new();
    let pool = server_options!(MySqlPoolOptions::new(), settings, recycle)
        .after_connect(move |connection, _| {
            let told = AssertSqlSafe(told.clone());
            async move {
                connection.execute(sqlx::raw_sql(told)).await?;
                read_your_writes(connection).await
            }
            .boxed()
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
