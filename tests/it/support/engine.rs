//! The engine that this run of the tests is about; one server of it for the whole test process.

use std::sync::OnceLock;

use super::database::Database;
use super::{mariadb, postgres};

/// Chooses the engine: `sqlite`, which is the default, `postgres` or `mysql`.
pub const VARIABLE: &str = "PROCWARDEN_TEST_DATABASE";

/// What `database.url` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB, standing for all that speak its protocol.
    MySql,
}

impl Engine {
    /// As the environment says.
    pub fn current() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Err(_) | Ok("" | "sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok("mysql") => Self::MySql,
            Ok(other) => panic!("{VARIABLE} is {other}: sqlite, postgres or mysql"),
        }
    }

    /// A new database with nothing in it; of SQLite, a name where no file is yet.
    pub fn fresh(self) -> Database {
        match self {
            Self::Sqlite => Database::in_a_directory(),
            Self::Postgres => Database::on(postgres_server()),
            Self::MySql => Database::on(mariadb_server()),
        }
    }
}

/// Is this run about that engine?
pub fn is(engine: Engine) -> bool {
    Engine::current() == engine
}

/// For the first line of a test about files; says why where it is none of this run's.
pub fn only_sqlite(why: &str) -> bool {
    if !is(Engine::Sqlite) {
        println!("nothing to show on {:?}: {why}", Engine::current());
    }
    is(Engine::Sqlite)
}

/// For the first line of a test of several instances: a file is one server's. Says so where there is nothing to show.
pub fn is_shared() -> bool {
    if is(Engine::Sqlite) {
        println!("nothing to show on a file: it is one instance's");
    }
    !is(Engine::Sqlite)
}

/// The server of all tests; started by the first that asks, ended with the process.
pub fn postgres_server() -> &'static postgres::Server {
    static SERVER: OnceLock<postgres::Server> = OnceLock::new();
    SERVER.get_or_init(postgres::Server::start)
}

/// The server of all tests; started by the first that asks, ended with the process.
pub fn mariadb_server() -> &'static mariadb::Server {
    static SERVER: OnceLock<mariadb::Server> = OnceLock::new();
    SERVER.get_or_init(mariadb::Server::start)
}
