//! What the database holds, read apart from the service's own code: the one place in the tests that knows table names.

use serde_json::Value;

use super::database::Database;
use super::engine::Engine;
use super::sql::{self, Held};

/// Rows of a query as JSON objects; see [`sql::rows`].
pub fn query(database: &Database, sql: &str) -> Vec<Value> {
    try_query(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The same where the table may not be there yet.
///
/// # Errors
/// What the engine or the network says.
pub fn try_query(database: &Database, sql: &str) -> Result<Vec<Value>, sqlx::Error> {
    sql::rows(database.url(), sql)
}

/// Carries out one or several statements; how many rows they changed.
pub fn execute(database: &Database, sql: &str) -> u64 {
    sql::execute(database.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The service's tables, by name; none where there is no file, and a file is not made.
pub fn tables(database: &Database) -> Vec<String> {
    let sql = match database.engine() {
        Engine::Sqlite if !database.file().exists() => return Vec::new(),
        Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
        Engine::Postgres => {
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        }
        Engine::MySql => {
            "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1"
        }
    };
    let rows = query(database, sql);
    let names = rows.iter().map(|row| row["name"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("procwarden_")).collect()
}

/// Keeps everybody else from reading and writing until the handle is dropped; in SQLite readers go on.
pub fn hold(database: &Database) -> Held {
    let tables = tables(database);
    let statement = match database.engine() {
        Engine::Sqlite => "BEGIN EXCLUSIVE".to_owned(),
        Engine::Postgres => format!("BEGIN; LOCK TABLE {}", tables.join(", ")),
        Engine::MySql => format!("LOCK TABLES {} WRITE", tables.join(" WRITE, ")),
    };
    sql::hold(database.url(), &statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
}

/// Every migration, oldest first.
pub fn migrations(database: &Database) -> Vec<Value> {
    query(database, "SELECT * FROM procwarden_migrations ORDER BY id")
}

/// Every node, by id.
pub fn nodes(database: &Database) -> Vec<Value> {
    query(database, "SELECT * FROM procwarden_nodes ORDER BY id")
}

/// Every committed event, in order.
pub fn events(database: &Database) -> Vec<Value> {
    query(database, "SELECT * FROM procwarden_events ORDER BY instance, seq")
}

/// Committed events of one kind (`node`, `migration`), in order.
pub fn events_of(database: &Database, kind: &str) -> Vec<Value> {
    events(database).into_iter().filter(|event| event["kind"] == kind).collect()
}

/// The steps of the schema that were applied, as the names of their files.
pub fn schema_steps(database: &Database) -> Vec<String> {
    query(database, "SELECT version, description FROM procwarden_schema ORDER BY version")
        .iter()
        .map(|row| {
            let name = row["description"].as_str().unwrap().replace(' ', "_");
            format!("{:04}_{name}.sql", row["version"].as_i64().unwrap())
        })
        .collect()
}
