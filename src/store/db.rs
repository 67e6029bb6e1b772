//! One connection to one of three engines. Everything that expands per driver is here: a statement is run with its
//! arguments, and rows come back as one type. The rest of the store writes each query once.

use sqlx::pool::PoolConnection;
use sqlx::{FromRow, MySql, MySqlPool, PgPool, Postgres, Sqlite, SqlitePool};

use super::StoreError;
use super::dialect::{self, Text};
use crate::config::Engine;

/// The pool of the engine that the URL names.
#[derive(Debug, Clone)]
pub(super) enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// Runs one expression for whichever driver it is.
macro_rules! on_db {
    ($db:expr, $enum:ident, $it:ident => $body:expr) => {
        match $db {
            $enum::Sqlite($it) => $body,
            $enum::Postgres($it) => $body,
            $enum::MySql($it) => $body,
        }
    };
}

/// An argument of a statement. All columns are whole numbers or text, on every engine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<&'a Option<String>> for Arg<'a> {
    fn from(value: &'a Option<String>) -> Self {
        Self::Text(value.as_deref())
    }
}

/// The arguments of a statement, in the order of its question marks.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::db::Arg::from($value)),*] };
}
pub(super) use args;

/// What a row becomes, whichever driver brings it.
pub(super) trait Row:
    for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
    + for<'r> FromRow<'r, sqlx::postgres::PgRow>
    + for<'r> FromRow<'r, sqlx::mysql::MySqlRow>
    + Send
    + Unpin
{
}

impl<T> Row for T where
    T: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
        + for<'r> FromRow<'r, sqlx::postgres::PgRow>
        + for<'r> FromRow<'r, sqlx::mysql::MySqlRow>
        + Send
        + Unpin
{
}

macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match *arg {
                Arg::Int(value) => query.bind(value),
                Arg::Text(value) => query.bind(value.map(dialect::storable)),
            };
        }
        query
    }};
}

macro_rules! bound_as {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query_as($sql);
        for arg in $args {
            query = match *arg {
                Arg::Int(value) => query.bind(value),
                Arg::Text(value) => query.bind(value.map(dialect::storable)),
            };
        }
        query
    }};
}

#[derive(Debug)]
enum Conn {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    MySql(PoolConnection<MySql>),
}

/// A connection of the pool, for one statement or one transaction. The drivers' futures are large and three: boxed.
///
/// One that is dropped before [`Session::done`] or [`Session::commit`] is closed, not given back: the server rolls back,
/// and a connection that no answer comes from does not take a place in the pool.
#[derive(Debug)]
pub(super) struct Session {
    conn: Option<Conn>,
    engine: Engine,
}

impl Db {
    pub(super) const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
            Self::MySql(_) => Engine::MySql,
        }
    }

    /// A connection outside of any transaction.
    pub(super) async fn session(&self) -> Result<Session, StoreError> {
        let conn = match self {
            Self::Sqlite(pool) => Conn::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Conn::Postgres(pool.acquire().await?),
            Self::MySql(pool) => Conn::MySql(pool.acquire().await?),
        };
        Ok(Session { conn: Some(conn), engine: self.engine() })
    }

    /// A transaction that may write from its start.
    pub(super) async fn begin(&self) -> Result<Session, StoreError> {
        let mut session = self.session().await?;
        session.plain(dialect::begin(session.engine)).await?;
        Ok(session)
    }

    pub(super) async fn close(&self) {
        on_db!(self, Db, pool => pool.close().await);
    }
}

impl Session {
    pub(super) const fn engine(&self) -> Engine {
        self.engine
    }

    fn conn(&mut self) -> Result<&mut Conn, StoreError> {
        self.conn.as_mut().ok_or(StoreError::Database(sqlx::Error::PoolClosed))
    }

    /// A statement without arguments that is not worth preparing, such as `BEGIN`.
    async fn plain(&mut self, sql: &'static str) -> Result<(), StoreError> {
        on_db!(self.conn()?, Conn, conn => {
            sqlx::raw_sql(sql).execute(&mut **conn).await?;
        });
        Ok(())
    }

    /// Runs a statement; how many rows it changed (on every engine: matched).
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<Text>,
        args: &[Arg<'_>],
    ) -> Result<u64, StoreError> {
        let sql = dialect::sql(self.engine, sql.into());
        Ok(on_db!(self.conn()?, Conn, conn => {
            Box::pin(bound!(sql, args).execute(&mut **conn)).await?.rows_affected()
        }))
    }

    /// All rows of a query.
    pub(super) async fn all<T: Row>(
        &mut self,
        sql: impl Into<Text>,
        args: &[Arg<'_>],
    ) -> Result<Vec<T>, StoreError> {
        let sql = dialect::sql(self.engine, sql.into());
        Ok(on_db!(self.conn()?, Conn, conn => {
            Box::pin(bound_as!(sql, args).fetch_all(&mut **conn)).await?
        }))
    }

    /// The first row of a query, if there is one.
    pub(super) async fn first<T: Row>(
        &mut self,
        sql: impl Into<Text>,
        args: &[Arg<'_>],
    ) -> Result<Option<T>, StoreError> {
        let sql = dialect::sql(self.engine, sql.into());
        Ok(on_db!(self.conn()?, Conn, conn => {
            Box::pin(bound_as!(sql, args).fetch_optional(&mut **conn)).await?
        }))
    }

    /// A number: the only column of the first row. None if there is no row or it is NULL.
    pub(super) async fn number(
        &mut self,
        sql: impl Into<Text>,
        args: &[Arg<'_>],
    ) -> Result<Option<i64>, StoreError> {
        let row: Option<(Option<i64>,)> = self.first(sql, args).await?;
        Ok(row.and_then(|(number,)| number))
    }

    /// Is the statement understood by the engine? It is not run.
    pub(super) async fn prepare(&mut self, sql: impl Into<Text>) -> Result<(), StoreError> {
        use sqlx::Executor as _;
        let sql = dialect::sql(self.engine, sql.into());
        on_db!(self.conn()?, Conn, conn => {
            (&mut **conn).prepare(sql).await.map(drop)?;
        });
        Ok(())
    }

    /// Ends the transaction; everything stands.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.plain("COMMIT").await?;
        self.done();
        Ok(())
    }

    /// Gives the connection back.
    pub(super) fn done(mut self) {
        self.conn.take();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            on_db!(conn, Conn, conn => drop(conn.detach()));
        }
    }
}
