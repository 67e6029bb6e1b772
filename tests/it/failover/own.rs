//! A server of one test's own, of the engine that this run is about.

use crate::support::engine::Engine;
use crate::support::{mariadb, postgres, sql};
use serde_json::Value;

/// The name of the database on it.
pub const DATABASE: &str = "d";

/// The server, with an empty database.
#[derive(Debug)]
pub enum Own {
    Postgres(postgres::Server),
    MariaDb(mariadb::Server),
}

macro_rules! on {
    ($self:expr, $server:ident => $work:expr) => {
        match $self {
            Own::Postgres($server) => $work,
            Own::MariaDb($server) => $work,
        }
    };
}

impl Own {
    /// Starts it; nothing where the engine has no server.
    pub fn start() -> Option<Self> {
        let own = match Engine::current() {
            Engine::Sqlite => {
                println!("nothing to show on SQLite: it has no server");
                return None;
            }
            Engine::Postgres => Self::Postgres(postgres::Server::start()),
            Engine::MySql => Self::MariaDb(mariadb::Server::start()),
        };
        let characters = if own.is_postgres() { "" } else { " CHARACTER SET utf8mb4" };
        own.sql("", &format!("CREATE DATABASE {DATABASE}{characters}"));
        Some(own)
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub fn url(&self) -> String {
        on!(self, server => server.url(DATABASE))
    }

    /// The same through another port.
    pub fn url_through(&self, port: u16) -> String {
        self.url().replace(&format!(":{}/", self.port()), &format!(":{port}/"))
    }

    pub fn port(&self) -> u16 {
        on!(self, server => server.port())
    }

    pub fn stop(&mut self) {
        on!(self, server => server.stop());
    }

    pub fn kill9(&mut self) {
        on!(self, server => server.kill9());
    }

    pub fn restart(&mut self) {
        on!(self, server => server.restart());
    }

    pub fn freeze(&self) {
        on!(self, server => server.freeze());
    }

    pub fn thaw(&self) {
        on!(self, server => server.thaw());
    }

    /// With all rights.
    pub fn sql(&self, database: &str, statement: &str) -> Vec<Value> {
        on!(self, server => server.sql(database, statement))
    }

    /// The same with all rights.
    pub fn admin_url(&self) -> String {
        on!(self, server => server.admin_url(DATABASE))
    }

    pub fn log(&self) -> String {
        on!(self, server => server.log())
    }

    /// Keeps an administrator's session with what its statements took.
    pub fn hold_as_admin(&self, statements: &str) -> sql::Held {
        sql::hold(&self.admin_url(), statements)
            .unwrap_or_else(|error| panic!("{statements}: {error}"))
    }
}
