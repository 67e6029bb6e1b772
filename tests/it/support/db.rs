//! What the SQLite file holds, read with the `sqlite3` program: the one place in the tests that knows table names.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Rows of a query as JSON objects.
pub fn query(file: &Path, sql: &str) -> Vec<Value> {
    let output = Command::new("sqlite3")
        .args(["-readonly", "-json", "-cmd", ".timeout 5000"])
        .arg(file)
        .arg(sql)
        .output()
        .expect("sqlite3 is installed");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    // No rows: nothing is printed at all.
    if output.stdout.is_empty() {
        Vec::new()
    } else {
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Every migration, oldest first.
pub fn migrations(file: &Path) -> Vec<Value> {
    query(file, "SELECT * FROM procwarden_migrations ORDER BY id")
}

/// Every node, by id.
pub fn nodes(file: &Path) -> Vec<Value> {
    query(file, "SELECT * FROM procwarden_nodes ORDER BY id")
}

/// Every committed event, in order.
pub fn events(file: &Path) -> Vec<Value> {
    query(file, "SELECT * FROM procwarden_events ORDER BY instance, seq")
}

/// Committed events of one kind (`node`, `migration`), in order.
pub fn events_of(file: &Path, kind: &str) -> Vec<Value> {
    events(file).into_iter().filter(|event| event["kind"] == kind).collect()
}

/// The steps of the schema that were applied, as the names of their files.
pub fn schema_steps(file: &Path) -> Vec<String> {
    query(file, "SELECT version, description FROM procwarden_schema ORDER BY version")
        .iter()
        .map(|row| {
            let name = row["description"].as_str().unwrap().replace(' ', "_");
            format!("{:04}_{name}.sql", row["version"].as_i64().unwrap())
        })
        .collect()
}
