//! Exit codes, in one place: which they are, and which error ends with which.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::adopt::AdoptError;
use crate::app::AppError;
use crate::config::Faults;
use crate::discover::DiscoverError;
use crate::instance::NameError;
use crate::monitor::MonitorError;
use crate::pid_file::PidFileError;
use crate::process::ProcessError;
use crate::reconciler::migrations::RequestError;
use crate::registry::RegistryError;
use crate::store::{LockHeld, StoreError};
use crate::telemetry::TelemetryError;

/// How the program ends. Numbers from 64 on are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for works.
    Ok,
    /// Some are down; a server ended by a failure of its own.
    Down,
    /// It could not be told.
    CouldNotTell,
    /// `EX_USAGE`: the command line asks for something that there is not.
    Usage,
    /// `EX_UNAVAILABLE`: the database is unavailable.
    Unavailable,
    /// `EX_TEMPFAIL`: another process holds it.
    Held,
    /// `EX_CONFIG`: the configuration is at fault.
    Config,
    /// What a Nagios plugin ends with: 0 to 3.
    Nagios(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Down => 1,
            Self::CouldNotTell => 2,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Held => 75,
            Self::Config => 78,
            Self::Nagios(code) => code,
        }
    }

    /// The worse of two outcomes of a look: not to know weighs more than to know that something is down.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.code() > self.code() { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line asks for something that there is not.
    #[error("{0}")]
    Usage(String),
    /// The configuration is at fault.
    #[error("the configuration is at fault:\n{0}")]
    Config(#[from] Faults),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] TelemetryError),
    /// What is asked for needs settings that are not given.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// It cannot be told.
    #[error("{0}")]
    CouldNotTell(String),
    /// An instance that shall be forgotten is not lost.
    #[error("'{0}' is live")]
    Live(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server runs.
    #[error(transparent)]
    Held(#[from] LockHeld),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What runs here cannot be told.
    #[error(transparent)]
    Discover(DiscoverError),
    /// The facade cannot be opened, or could not record.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The migrations could not be looked at.
    #[error(transparent)]
    Migrations(#[from] RequestError),
    /// The server.
    #[error(transparent)]
    App(#[from] AppError),
    /// The PID file.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The process table cannot be asked.
    #[error(transparent)]
    Processes(#[from] ProcessError),
    /// Standard input, or the runtime.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl From<DiscoverError> for CliError {
    fn from(error: DiscoverError) -> Self {
        match error {
            DiscoverError::Registry(error) => Self::Registry(error),
            error => Self::Discover(error),
        }
    }
}

impl CliError {
    /// How the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Config(_)
            | Self::NotConfigured(_)
            | Self::Log(_)
            | Self::Monitor(MonitorError::Key(_))
            | Self::PidFile(PidFileError::Io { .. }) => Exit::Config,
            Self::Store(error) | Self::Monitor(MonitorError::Store(error)) => of_store(error),
            Self::Monitor(MonitorError::Name(error)) => of_name(error),
            Self::Live(_) | Self::PidFile(PidFileError::Held { .. }) => Exit::Held,
            Self::Held(error) => of_lock(error),
            Self::Registry(error) => of_registry(error),
            Self::CouldNotTell(_)
            | Self::Discover(_)
            | Self::Io { .. }
            | Self::Monitor(_)
            | Self::Processes(_)
            | Self::PidFile(PidFileError::Stranger { .. }) => Exit::CouldNotTell,
            Self::Migrations(error) => of_migrations(error),
            Self::App(error) => of_app(error),
        }
    }

    /// The error with its causes, for standard error.
    #[must_use]
    pub fn chain(&self) -> String {
        crate::causes::chain(self)
    }
}

const fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Missing(_) | StoreError::OlderSchema { .. } => Exit::CouldNotTell,
        StoreError::DuplicateName(_) | StoreError::NoKey => Exit::Usage,
        StoreError::Url(_) | StoreError::Theirs { .. } | StoreError::Key(_) => Exit::Config,
        StoreError::LostName(_) => Exit::Held,
        _ => Exit::Unavailable,
    }
}

const fn of_lock(error: &LockHeld) -> Exit {
    match error {
        LockHeld::Held { .. } => Exit::Held,
        LockHeld::Io { .. } => Exit::Unavailable,
    }
}

const fn of_name(error: &NameError) -> Exit {
    match error {
        NameError::Held { .. } => Exit::Held,
        NameError::Store(error) => of_store(error),
    }
}

const fn of_registry(error: &RegistryError) -> Exit {
    match error {
        RegistryError::Invalid { .. } | RegistryError::Adopted(_) => Exit::Usage,
        RegistryError::NotFound(_) => Exit::CouldNotTell,
        RegistryError::Store(error) => of_store(error),
    }
}

const fn of_migrations(error: &RequestError) -> Exit {
    match error {
        RequestError::Off => Exit::Config,
        RequestError::Store(_) => Exit::Unavailable,
        _ => Exit::CouldNotTell,
    }
}

fn of_app(error: &AppError) -> Exit {
    match error {
        AppError::Held(error) => of_lock(error),
        AppError::Store(error)
        | AppError::Monitor(MonitorError::Store(error))
        | AppError::Registry(RegistryError::Store(error))
        | AppError::Adopt(
            AdoptError::Store(error) | AdoptError::Registry(RegistryError::Store(error)),
        ) => of_store(error),
        AppError::Monitor(MonitorError::Name(error)) => of_name(error),
        AppError::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse => Exit::Held,
        // What stands in the configuration and cannot be done.
        AppError::Bind { .. }
        | AppError::Registry(_)
        | AppError::Adopt(_)
        | AppError::Monitor(MonitorError::Key(_)) => Exit::Config,
        AppError::Monitor(_)
        | AppError::Threads(_)
        | AppError::TaskDied(_)
        | AppError::Aborted
        | AppError::Deadline => Exit::Down,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::secrets::{KeyError, KeyFault};

    #[test]
    fn each_error_ends_with_the_code_of_the_contract() {
        let bind = |kind: ErrorKind| AppError::Bind {
            address: ([127, 0, 0, 1], 1).into(),
            source: kind.into(),
        };
        let held = || NameError::Held {
            name: String::new(),
            pid: 1,
            host: String::new(),
            ago: std::time::Duration::ZERO,
        };
        let own = AdoptError::OwnNodes { count: 1, table: String::new() };
        let key =
            || KeyError { setting: "adopt.laravel_key".to_owned(), fault: KeyFault::NotBase64 };
        let table: [(CliError, u8); 22] = [
            (CliError::Usage(String::new()), 64),
            (CliError::Config(Faults(Vec::new())), 78),
            (StoreError::Missing(PathBuf::new()).into(), 2),
            (StoreError::OlderSchema { found: 1, wanted: 2 }.into(), 2),
            (StoreError::NewerSchema { found: 2, known: 1 }.into(), 69),
            (StoreError::Url("x".into()).into(), 78),
            (StoreError::DuplicateName("x".into()).into(), 64),
            (LockHeld::Held { pid: None }.into(), 75),
            (RegistryError::NotFound("x".into()).into(), 2),
            (RegistryError::Invalid { field: "port", problem: String::new() }.into(), 64),
            (RegistryError::Adopted(String::new()).into(), 64),
            (AppError::Adopt(own).into(), 78),
            (MonitorError::Store(StoreError::Missing(PathBuf::new())).into(), 2),
            (RequestError::Off.into(), 78),
            (bind(ErrorKind::AddrInUse).into(), 75),
            (bind(ErrorKind::AddrNotAvailable).into(), 78),
            (AppError::Deadline.into(), 1),
            (CliError::Live(String::new()), 75),
            (MonitorError::Name(held()).into(), 75),
            (AppError::Monitor(MonitorError::Name(held())).into(), 75),
            (MonitorError::Key(key()).into(), 78),
            (AppError::Monitor(MonitorError::Key(key())).into(), 78),
        ];
        for (error, code) in table {
            assert_eq!(error.exit().code(), code, "{error:?}");
        }
    }

    #[test]
    fn not_to_know_is_worse_than_down() {
        assert_eq!(Exit::Down.worse(Exit::CouldNotTell), Exit::CouldNotTell);
        assert_eq!(Exit::CouldNotTell.worse(Exit::Down), Exit::CouldNotTell);
        assert_eq!(Exit::Ok.worse(Exit::Down), Exit::Down);
    }
}
