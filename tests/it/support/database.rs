//! One database of a test: its URL, and its end with the last handle.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::engine::Engine;
use super::server::{Kind, Server};
use super::sql;

/// A database; clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: String,
    /// Where to say that the database of this name shall go.
    remove: Option<(String, String)>,
    _dir: Option<TempDir>,
}

impl Database {
    /// The one that a URL names; it stays when the handle goes.
    pub fn at(url: String) -> Self {
        Self(Arc::new(Inner { url, remove: None, _dir: None }))
    }

    /// The SQLite file of this name, which need not exist.
    pub fn file_at(path: &Path) -> Self {
        Self::at(format!("sqlite://{}", path.display()))
    }

    /// A SQLite file in a directory of its own.
    pub fn in_a_directory() -> Self {
        let dir = TempDir::new().unwrap();
        let url = format!("sqlite://{}", dir.path().join("procwarden.db").display());
        Self(Arc::new(Inner { url, remove: None, _dir: Some(dir) }))
    }

    /// A new one on a server; removed with the last handle.
    pub fn on<K: Kind>(server: &Server<K>) -> Self {
        let name = random_name();
        let (url, admin) = (server.url(&name), server.admin_url(""));
        let characters = if url.starts_with("mysql") { " CHARACTER SET utf8mb4" } else { "" };
        server.sql("", &format!("CREATE DATABASE {name}{characters}"));
        Self(Arc::new(Inner { url, remove: Some((admin, name)), _dir: None }))
    }

    /// As `database.url` takes it.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Its engine, by the URL.
    pub fn engine(&self) -> Engine {
        self.known_engine().unwrap_or_else(|| panic!("no engine's URL: {}", self.url()))
    }

    /// The same; none where the URL is one that the service refuses, or does without.
    pub fn known_engine(&self) -> Option<Engine> {
        match self.url().split_once(':')?.0 {
            "sqlite" => Some(Engine::Sqlite),
            "postgres" => Some(Engine::Postgres),
            "mysql" | "mariadb" => Some(Engine::MySql),
            _ => None,
        }
    }

    /// The file; panics where the engine has none.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(self.url().strip_prefix("sqlite://").expect("a database of SQLite"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((admin, name)) = &self.remove {
            let force = if admin.starts_with("postgres") { " WITH (FORCE)" } else { "" };
            // The server may be gone, by the test's own doing.
            let _ = sql::execute(admin, &format!("DROP DATABASE IF EXISTS {name}{force}"));
        }
    }
}

fn random_name() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    format!("test_{:016x}", u64::from_le_bytes(bytes))
}
