//! What can go wrong with the database, told apart by what the caller does about it.

use std::path::PathBuf;
use std::time::Duration;

/// An error of the store. The URL in it is redacted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database file, and this call makes none.
    #[error("no database at {}", .0.display())]
    Missing(PathBuf),
    /// The schema is older than this program; `procwarden migrate` or `serve` brings it up to date.
    #[error(
        "the database has schema {found}, this program needs {wanted}: run `procwarden migrate`"
    )]
    OlderSchema {
        /// The newest migration applied, 0 for none.
        found: i64,
        /// The newest migration known.
        wanted: i64,
    },
    /// The schema was made by a newer program.
    #[error(
        "the database has schema {found}, newer than this program's {known}: use a newer procwarden"
    )]
    NewerSchema {
        /// The newest migration applied.
        found: i64,
        /// The newest migration known.
        known: i64,
    },
    /// A migration began and did not end.
    #[error(
        "step {0} of the schema was interrupted: undo what it made, delete its row from procwarden_schema, then run \
         `procwarden migrate`"
    )]
    DirtySchema(i64),
    /// The URL is of no engine that is built in.
    #[error("database.url: {0}")]
    Url(String),
    /// A node of that name exists.
    #[error("a node named '{0}' exists already")]
    DuplicateName(String),
    /// A password would stand in clear where others read it.
    #[error(
        "a password is stored in a shared database sealed only: set secrets.key_file or secrets.key, or name it, as \
         env:NAME or file:/PATH"
    )]
    NoKey,
    /// The keys that seal passwords.
    #[error(transparent)]
    Key(#[from] super::keys::KeyError),
    /// What stands in a row cannot be understood.
    #[error("a row of {table} cannot be read: {problem}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Another program makes the database or brings it up to date, and does not end; or its directory cannot be locked.
    #[error("cannot lock {} to make the database or bring it up to date", path.display())]
    Turn {
        /// The database's directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another program brings the database up to date, and does not end.
    #[error("another program has been bringing the schema up to date for over {} s: try again", .0.as_secs())]
    Busy(Duration),
    /// The migrations could not be applied.
    #[error("the schema cannot be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database cannot be opened.
    #[error("cannot open {url}{}", advice(source))]
    Open {
        /// Redacted.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The file that was opened is not the one at its path any more: what is written there would be lost.
    #[error("{} was removed or replaced while it was in use: put it back, or start again", path.display())]
    Replaced {
        /// Where it was.
        path: PathBuf,
        /// Why it cannot be found; none if another file stands there.
        source: Option<std::io::Error>,
    },
    /// The database takes no writes.
    #[error("the database is read-only: point database.url at the primary, or make it writable")]
    ReadOnly(#[source] sqlx::Error),
    /// The database's user may not do it.
    #[error(
        "the database user lacks a right: `procwarden check-config` prints the GRANTs it needs"
    )]
    Rights(#[source] sqlx::Error),
    /// The engine does not understand one of our statements.
    #[error("this server does not take the statement {name}: it is not compatible enough")]
    Statement {
        /// Where it stands.
        name: &'static str,
        /// What the server says.
        source: Box<StoreError>,
    },
    /// Two transactions were in each other's way; the whole transaction may be tried again.
    #[error("two transactions were in each other's way")]
    Conflict(#[source] sqlx::Error),
    /// No answer in time. Whether a write stands is not known.
    #[error("the database gave no answer for {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Our name was taken over by another instance: nothing is written in its name any more.
    #[error("the name '{0}' was taken over by another instance, or was forgotten")]
    LostName(String),
    /// A table that the configuration adopts is not there, or not as it is described.
    #[error("{table}: {problem}")]
    Theirs {
        /// As the configuration names it.
        table: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// We may not write a table that the configuration adopts.
    #[error(
        "{table} may not be written: `procwarden check-config` prints the GRANTs that adopt.mode = \"write\" needs"
    )]
    TheirsDenied {
        /// As the configuration names it.
        table: String,
        /// What the database says.
        source: Box<StoreError>,
    },
    /// What was written into an adopted table was undone: our own row had been written by somebody else, or there are two
    /// of theirs.
    #[error("a row was written by somebody else meanwhile; nothing was changed")]
    Undone,
    /// Any other failure of the database.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// The file beside the database, or the database's directory, cannot be opened.
    #[must_use]
    pub fn unopenable(url: &str, source: std::io::Error) -> Self {
        Self::Open { url: super::redacted(url), source: sqlx::Error::Io(source) }
    }

    pub(super) fn opening(url: &str, source: sqlx::Error) -> Self {
        Self::Open { url: super::redacted(url), source }
    }

    /// Would waiting help? True for a server that is not there, not up or full; false for a fault in what was asked.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Open { source, .. } | Self::Database(source) => match source {
                // 57P03: starting up; 53300, 1040, 1203, 1226: too many connections, of all or of this user; 1047: a Galera
                // node that is not ready; 1053: shutting down; class 08: what poolers say that reach no server.
                sqlx::Error::Database(error) => match code(&**error).as_str() {
                    "57P03" | "57P01" | "57P02" | "53300" | "1040" | "1047" | "1053" | "1203"
                    | "1226" => true,
                    code => code.len() == 5 && code.starts_with("08"),
                },
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// Does the server behind this connection answer, and not as what we need? Other connections may reach another.
    pub(super) fn wants_other_server(&self) -> bool {
        match self {
            Self::ReadOnly(_) => true,
            Self::Database(sqlx::Error::Database(error)) => {
                matches!(code(&**error).as_str(), "1047" | "1053" | "57P01" | "57P02" | "57P03")
            }
            _ => false,
        }
    }

    /// The whole chain of causes in one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        crate::causes::chain(self)
    }
}

/// `SQLSTATE` of PostgreSQL, the number of MySQL, the result code of SQLite.
fn code(error: &(dyn sqlx::error::DatabaseError + 'static)) -> String {
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(mysql) => mysql.number().to_string(),
        None => error.code().unwrap_or_default().into_owned(),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else { return Self::Database(error) };
        let is_sqlite = database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
        match (code(&**database).as_str(), is_sqlite) {
            // serialization_failure, deadlock_detected; ER_LOCK_DEADLOCK, ER_AUTOINC_READ_FAILED: what InnoDB says of a
            // deadlock over a table's next id.
            ("40001" | "40P01" | "1213" | "1467", false) => Self::Conflict(error),
            // read_only_sql_transaction; ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION,
            // ER_READ_ONLY_MODE; SQLITE_READONLY and its extended codes.
            ("25006" | "1290" | "1792" | "1836", false)
            | ("8" | "264" | "520" | "776" | "1032" | "1288" | "1544", true) => {
                Self::ReadOnly(error)
            }
            // insufficient_privilege; ER_DBACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED,
            // ER_SPECIFIC_ACCESS_DENIED.
            ("42501" | "1044" | "1142" | "1143" | "1227", false) => Self::Rights(error),
            _ => Self::Database(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Dirty(version) => Self::DirtySchema(version),
            MigrateError::Execute(error) => match Self::from(error) {
                Self::Database(error) => Self::Migrate(MigrateError::Execute(error)),
                known => known,
            },
            MigrateError::ExecuteMigration(error, version) => match Self::from(error) {
                Self::Database(error) => {
                    Self::Migrate(MigrateError::ExecuteMigration(error, version))
                }
                known => known,
            },
            other => Self::Migrate(other),
        }
    }
}

/// What to do about a database that cannot be opened, where the code tells.
fn advice(error: &sqlx::Error) -> &'static str {
    let sqlx::Error::Database(error) = error else { return "" };
    match code(&**error).as_str() {
        "28P01" | "28000" | "1045" | "1698" => " (check the user and the password in database.url)",
        "3D000" | "1049" => " (create the database first: `procwarden check-config` prints how)",
        "42501" | "1044" => {
            " (the user lacks a right: `procwarden check-config` prints the GRANTs)"
        }
        "53300" | "1040" | "1203" | "1226" => " (the server has too many connections)",
        _ => "",
    }
}
