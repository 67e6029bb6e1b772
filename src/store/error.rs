//! What can go wrong with the database, told apart by what the caller does about it.

use std::path::PathBuf;

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
    /// The URL is of no engine that is built in.
    #[error("database.url: {0}")]
    Url(String),
    /// A node of that name exists.
    #[error("a node named '{0}' exists already")]
    DuplicateName(String),
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
    /// The migrations could not be applied.
    #[error("the schema cannot be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database cannot be opened.
    #[error("cannot open {url}")]
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
    /// Any other failure of the database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// The file beside the database, or the database's directory, cannot be opened.
    #[must_use]
    pub fn unopenable(url: &str, source: std::io::Error) -> Self {
        Self::Open { url: super::redacted(url), source: sqlx::Error::Io(source) }
    }

    /// The whole chain of causes in one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        crate::causes::chain(self)
    }
}
