//! `[adopt]`: whose tables are watched beside ours, and whether they are written.

use std::fmt;
use std::path::PathBuf;

use crate::domain::node::Password;

/// `adopt.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdoptMode {
    /// Nobody's.
    #[default]
    Off,
    /// They are read and compared; nothing of theirs is written and no lock removed.
    Shadow,
    /// They are kept in agreement with the processes.
    Write,
}

impl AdoptMode {
    /// Every one, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Off, Self::Shadow, Self::Write];

    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Write => "write",
        }
    }
}

/// A table of theirs, as it is named in the configuration: `table` or `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema (PostgreSQL) or database (MariaDB); none: the connection's own.
    pub schema: Option<String>,
    /// Its name.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// Where their table of migrations keeps what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MigrationsTable {
    /// The table.
    pub name: TableName,
    /// The column of `brz_project_id`.
    pub project_id: String,
    /// The column of `mb_project_uuid`.
    pub uuid: String,
    /// Where the status is.
    pub status: StatusPlace,
}

/// Where a status is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StatusPlace {
    /// Under keys of the JSON object in a column.
    Json {
        /// The column.
        column: String,
        /// The key of the status.
        status: String,
        /// The key of the error's text.
        error: String,
    },
    /// In columns of its own.
    Columns {
        /// The column of the status.
        status: String,
        /// The column of the error's text.
        error: String,
    },
}

/// Whose `.env` gives the settings that nobody else gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TheirEnv {
    /// The migration dashboard's: `MG_DB_*`, `CACHE_PATH`, `MIGRATION_MONITOR_INTERVAL`.
    Mb,
    /// Laravel's: `DB_*`, `APP_KEY`, `APP_PREVIOUS_KEYS`.
    Laravel,
}

impl TheirEnv {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Mb, Self::Laravel];

    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mb => "mb",
            Self::Laravel => "laravel",
        }
    }
}

/// `[adopt]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adopt {
    /// What is done with what is named below.
    pub mode: AdoptMode,
    /// Their table of nodes.
    pub nodes: Option<TableName>,
    /// Their table of migrations.
    pub migrations: Option<MigrationsTable>,
    /// The `APP_KEY` that their passwords are encrypted with, as in their `.env`.
    pub laravel_key: Option<Password>,
    /// Keys of before.
    pub laravel_previous_keys: Vec<Password>,
    /// Whose `.env` is read as well.
    pub env: Option<TheirEnv>,
    /// Where that is; none: `.env` in the working directory.
    pub env_file: Option<PathBuf>,
}

impl Adopt {
    /// Their table of nodes, if it is watched.
    #[must_use]
    pub fn nodes(&self) -> Option<&TableName> {
        self.nodes.as_ref().filter(|_| self.mode != AdoptMode::Off)
    }

    /// Their table of migrations, if it is watched.
    #[must_use]
    pub fn migrations(&self) -> Option<&MigrationsTable> {
        self.migrations.as_ref().filter(|_| self.mode != AdoptMode::Off)
    }

    /// May what is theirs be written, and a lock removed?
    #[must_use]
    pub fn writes(&self) -> bool {
        self.mode == AdoptMode::Write
    }

    /// Are the locks theirs, to be left where they are? So in shadow, and when adoption is off again: what is named below
    /// says that somebody else takes care of them.
    #[must_use]
    pub fn keeps_locks(&self) -> bool {
        let theirs = self.migrations.is_some() || self.env == Some(TheirEnv::Mb);
        theirs && !self.writes()
    }
}
