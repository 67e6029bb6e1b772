//! SQL for the tests themselves on any of the engines: one connection for each call, rows as JSON.
//!
//! Blocking, so that it serves tests with and without a runtime, and clean-ups.

use std::future::Future;
use std::io;
use std::str::FromStr;
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{
    AssertSqlSafe, Column as _, ColumnIndex, Connection as _, Database, Decode, Row, TypeInfo as _,
    ValueRef as _,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// A server that is frozen answers never.
const LIMIT: Duration = Duration::from_secs(30);

/// Rows as JSON objects: integers as numbers, NULL as null, everything else as text. Reads only, where SQLite is asked.
///
/// # Errors
/// What the engine or the network says.
pub fn rows(url: &str, sql: &str) -> Result<Vec<Value>, sqlx::Error> {
    let (url, sql) = (url.to_owned(), AssertSqlSafe(sql.to_owned()));
    blocking(async move {
        macro_rules! rows {
            ($connection:expr) => {{
                let mut connection = $connection.await?;
                let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await?;
                let _ = connection.close().await;
                rows.iter().map(object).collect()
            }};
        }
        match scheme(&url) {
            "sqlite" => rows!(SqliteConnection::connect_with(&sqlite(&url)?.read_only(true))),
            "postgres" => rows!(PgConnection::connect(&url)),
            _ => rows!(MySqlConnection::connect(&url)),
        }
    })
}

/// Carries out one or several statements; how many rows they changed.
///
/// # Errors
/// What the engine or the network says.
pub fn execute(url: &str, sql: &str) -> Result<u64, sqlx::Error> {
    let (url, sql) = (url.to_owned(), AssertSqlSafe(sql.to_owned()));
    blocking(async move {
        macro_rules! execute {
            ($connection:expr) => {{
                let mut connection = $connection.await?;
                let done = sqlx::raw_sql(sql).execute(&mut connection).await?;
                let _ = connection.close().await;
                Ok(done.rows_affected())
            }};
        }
        match scheme(&url) {
            "sqlite" => execute!(SqliteConnection::connect_with(&sqlite(&url)?)),
            "postgres" => execute!(PgConnection::connect(&url)),
            _ => execute!(MySqlConnection::connect(&url)),
        }
    })
}

/// A connection that stays open, with what its statements took, until this is dropped.
#[derive(Debug)]
pub struct Held {
    release: Option<oneshot::Sender<()>>,
    released: mpsc::Receiver<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.release.take());
        // An error: it was closed before, by the server.
        let _ = self.released.recv();
    }
}

/// Carries out one or several statements and keeps the connection.
///
/// # Errors
/// What the engine or the network says.
pub fn hold(url: &str, sql: &str) -> Result<Held, sqlx::Error> {
    let (url, sql) = (url.to_owned(), AssertSqlSafe(sql.to_owned()));
    blocking(async move {
        let (release, mut wanted) = oneshot::channel::<()>();
        let (done, released) = mpsc::channel();
        macro_rules! hold {
            ($connection:expr) => {{
                let mut connection = $connection.await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
                tokio::spawn(async move {
                    let _ = (&mut wanted).await;
                    let _ = connection.close().await;
                    let _ = done.send(());
                });
            }};
        }
        match scheme(&url) {
            "sqlite" => hold!(SqliteConnection::connect_with(&sqlite(&url)?)),
            "postgres" => hold!(PgConnection::connect(&url)),
            _ => hold!(MySqlConnection::connect(&url)),
        }
        Ok(Held { release: Some(release), released })
    })
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn sqlite(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(SqliteConnectOptions::from_str(url)?.busy_timeout(Duration::from_secs(20)))
}

/// Runs it on a thread of a runtime that all tests share, within the limit.
fn blocking<T: Send + 'static>(
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    });
    let (done, outcome) = mpsc::channel();
    RUNTIME.spawn(async move {
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer").into());
        let _ = done.send(tokio::time::timeout(LIMIT, work).await.unwrap_or_else(late));
    });
    outcome.recv().expect("the work ended without a panic")
}

fn object<R: Row>(row: &R) -> Result<Value, sqlx::Error>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database>,
{
    let mut fields = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        fields.insert(column.name().to_owned(), value(row, index)?);
    }
    Ok(Value::Object(fields))
}

/// By the type that the engine names; the values themselves come as text, since the statements are not prepared.
fn value<R: Row>(row: &R, index: usize) -> Result<Value, sqlx::Error>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database>,
{
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let text: String = row.try_get_unchecked(index)?;
    Ok(match kind.as_str() {
        kind if is_integer::<R::Database>(kind) => {
            text.parse::<i64>().map_or(Value::String(text), Value::from)
        }
        "BOOL" => Value::Bool(text == "t"),
        _ => Value::String(text),
    })
}

/// Sums are NUMERIC or DECIMAL; where one has a fraction it stays text.
fn is_integer<DB: Database>(kind: &str) -> bool {
    let kind = kind.trim_end_matches(" UNSIGNED");
    let sum = ["NUMERIC", "DECIMAL"].contains(&kind);
    // MariaDB's BOOLEAN is a TINYINT.
    let boolean = kind == "BOOLEAN" && DB::NAME == "MySQL";
    sum || boolean
        || ["INTEGER", "INT", "INT2", "INT4", "INT8", "BIGINT", "SMALLINT", "TINYINT", "MEDIUMINT"]
            .contains(&kind)
}
