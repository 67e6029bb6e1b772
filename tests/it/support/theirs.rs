//! The tables of the systems that were there before, to their own definitions, on any of the engines.
//!
//! What stands in them is written and read apart from the service, so that a test can say that nothing but the allowed
//! columns changed.

use std::fs::File;
use std::path::Path;

use serde_json::{Map, Value};

use super::database::Database;
use super::db;
use super::engine::{self, Engine};

/// One of their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The Laravel module's nodes.
    Nodes,
    /// The migration dashboard's, where the status is a key of a JSON text.
    Mapping,
    /// The migration dashboard's, where the status is a column.
    Migrations,
}

/// All of them.
pub const ALL: [Table; 3] = [Table::Nodes, Table::Mapping, Table::Migrations];

/// The service's own tables, for rights that name each: what the schema's files make, and where it is kept which were run.
pub fn ours() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/mysql");
    let files = dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let made = files.filter_map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        let (_, rest) = text.split_once("CREATE TABLE ")?;
        Some(rest.split([' ', '(']).next().unwrap().to_owned())
    });
    made.chain(["procwarden_schema".to_owned()]).collect()
}

impl Table {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "monero_nodes",
            Self::Mapping => "migrations_mapping",
            Self::Migrations => "migrations",
        }
    }

    /// Makes it, empty.
    pub fn create(self, database: &Database) {
        let engine = database.engine();
        if engine == Engine::Sqlite && !database.file().exists() {
            File::create_new(database.file()).unwrap();
        }
        let columns = columns(self).map(|(name, kind)| format!("{name} {}", kind.on(engine)));
        let end = match engine {
            Engine::MySql => " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            Engine::Sqlite | Engine::Postgres => "",
        };
        let columns = columns.collect::<Vec<_>>().join(", ");
        db::execute(database, &format!("CREATE TABLE {} ({columns}){end}", self.name()));
    }

    /// Inserts a row: columns that are not named get their default. Objects and lists become JSON texts.
    pub fn insert(self, database: &Database, row: &Value) {
        let row = row.as_object().expect("an object");
        let names: Vec<&str> = row.keys().map(String::as_str).collect();
        let values: Vec<String> =
            row.values().map(|value| literal(database.engine(), value)).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        let sql = format!("INSERT INTO {} ({names}) VALUES ({values})", self.name());
        assert_eq!(db::execute(database, &sql), 1, "{sql}");
    }

    /// Sets columns of the rows that a condition names; how many they are.
    pub fn update(self, database: &Database, set: &Value, condition: &str) -> u64 {
        let set = set.as_object().expect("an object").iter();
        let set: Vec<String> =
            set.map(|(k, v)| format!("{k} = {}", literal(database.engine(), v))).collect();
        let sql = format!("UPDATE {} SET {} WHERE {condition}", self.name(), set.join(", "));
        db::execute(database, &sql)
    }

    /// Every row with every column. Truth is true or false on every engine; JSON is the text that stands there.
    pub fn rows(self, database: &Database) -> Vec<Value> {
        let order = if self == Self::Mapping { "brz_project_id, mb_project_uuid" } else { "id" };
        let mut rows =
            db::query(database, &format!("SELECT * FROM {} ORDER BY {order}", self.name()));
        let truths = columns(self).filter(|(_, kind)| matches!(kind, Kind::Truth(_)));
        for (name, _) in truths {
            for row in &mut rows {
                if let Some(number) = row[name].as_i64() {
                    row[name] = Value::Bool(number != 0);
                }
            }
        }
        rows
    }
}

/// The columns in which two readings of one table differ, as `row.column`; rows are compared in their order.
pub fn changed(before: &[Value], after: &[Value]) -> Vec<String> {
    assert_eq!(before.len(), after.len(), "rows came or went: {before:#?} {after:#?}");
    let pairs = before.iter().zip(after).enumerate();
    pairs.flat_map(|(at, (old, new))| differing(at, object(old), object(new))).collect()
}

fn differing<'a>(
    at: usize,
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> impl Iterator<Item = String> + 'a {
    assert!(old.keys().eq(new.keys()), "{old:?} {new:?}");
    let names = old.iter().filter(|(name, value)| new[*name] != **value);
    names.map(move |(name, _)| format!("{at}.{name}"))
}

fn object(row: &Value) -> &Map<String, Value> {
    row.as_object().expect("a row")
}

/// A login of its own for the service: it may do what it likes with its own tables, and with theirs only what is said for
/// each, such as `SELECT` or `SELECT, UPDATE (worked, worked_data)`. The database stays that of `database`, which must
/// outlive it; a file has no logins.
pub fn login(database: &Database, rights: &[(Table, &str)]) -> Database {
    let (_, name) = database.url().rsplit_once('/').expect("a URL with a database");
    let user = format!("limited_{name}");
    let theirs = rights.iter().map(|(table, rights)| (table.name(), rights));
    match database.engine() {
        Engine::Sqlite => panic!("a file has no logins"),
        Engine::Postgres => {
            let server = engine::postgres_server();
            let mut sql = vec![
                format!("CREATE ROLE {user} LOGIN"),
                format!("GRANT USAGE, CREATE ON SCHEMA public TO {user}"),
            ];
            sql.extend(
                theirs.map(|(table, rights)| format!("GRANT {rights} ON {table} TO {user}")),
            );
            db::execute(database, &sql.join("; "));
            Database::at(format!("postgres://{user}@127.0.0.1:{}/{name}", server.port()))
        }
        Engine::MySql => {
            let server = engine::mariadb_server();
            let at = format!("{user}@'127.0.0.1'");
            let mut sql = vec![format!("CREATE USER {at} IDENTIFIED BY 'hunter2'")];
            let own = "CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE";
            sql.extend(ours().iter().map(|table| format!("GRANT {own} ON {name}.{table} TO {at}")));
            sql.extend(
                theirs.map(|(table, rights)| format!("GRANT {rights} ON {name}.{table} TO {at}")),
            );
            for statement in sql {
                server.sql("", &statement);
            }
            Database::at(format!("mysql://{user}:hunter2@127.0.0.1:{}/{name}", server.port()))
        }
    }
}

/// What a column is, in the words of the earlier systems' own migrations.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `$table->id()`.
    Id,
    Integer,
    NullableInteger,
    /// Up to 255 characters, and what follows the type.
    Text(&'static str),
    /// Up to 50 characters, must be given.
    Word,
    LongText,
    Json,
    Truth(bool),
    Time,
}

impl Kind {
    /// As Laravel's schema builder writes it for the engine.
    fn on(self, engine: Engine) -> String {
        let by = |sqlite: &str, postgres: &str, mysql: &str| match engine {
            Engine::Sqlite => sqlite.to_owned(),
            Engine::Postgres => postgres.to_owned(),
            Engine::MySql => mysql.to_owned(),
        };
        match self {
            Self::Id => by(
                "integer PRIMARY KEY AUTOINCREMENT NOT NULL",
                "bigserial PRIMARY KEY NOT NULL",
                "bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY",
            ),
            Self::Integer => by("integer NOT NULL", "integer NOT NULL", "int NOT NULL"),
            Self::NullableInteger => by("integer NULL", "integer NULL", "int NULL"),
            Self::Text(more) => by("varchar", "varchar(255)", "varchar(255)") + " " + more,
            Self::Word => by("varchar", "varchar(50)", "varchar(50)") + " NOT NULL",
            Self::LongText => by("text NULL", "text NULL", "text NULL"),
            Self::Json => by("text NULL", "json NULL", "json NULL"),
            Self::Truth(default) => {
                let kind = by("tinyint(1)", "boolean", "tinyint(1)");
                format!("{kind} NOT NULL DEFAULT '{}'", u8::from(default))
            }
            Self::Time => {
                by("datetime NULL", "timestamp(0) without time zone NULL", "timestamp NULL")
            }
        }
    }
}

/// The columns in their order.
fn columns(table: Table) -> impl Iterator<Item = (&'static str, Kind)> {
    let columns: &[(&str, Kind)] = match table {
        Table::Nodes => &[
            ("id", Kind::Id),
            ("name", Kind::Text("NOT NULL UNIQUE")),
            ("title", Kind::Text("NULL")),
            ("host", Kind::Text("NOT NULL DEFAULT '127.0.0.1'")),
            ("port", Kind::Integer),
            ("username", Kind::Text("NULL")),
            ("password", Kind::LongText),
            ("daemon", Kind::LongText),
            ("pid", Kind::NullableInteger),
            ("sync_at", Kind::Time),
            ("worked", Kind::Truth(false)),
            ("worked_data", Kind::Json),
            ("available", Kind::Truth(true)),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        Table::Mapping => &[
            ("brz_project_id", Kind::Integer),
            ("mb_project_uuid", Kind::Text("NOT NULL")),
            ("changes_json", Kind::Text("NULL")),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        Table::Migrations => &[
            ("id", Kind::Id),
            ("brz_project_id", Kind::Integer),
            ("mb_project_uuid", Kind::Text("NOT NULL")),
            ("status", Kind::Word),
            ("error", Kind::LongText),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
    };
    columns.iter().copied()
}

/// A value as SQL of the engine has it.
fn literal(engine: Engine, value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(truth) if engine == Engine::Postgres => truth.to_string(),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(engine, text),
        Value::Array(_) | Value::Object(_) => quoted(engine, &value.to_string()),
    }
}

fn quoted(engine: Engine, text: &str) -> String {
    let text = text.replace('\'', "''");
    // The standard knows no escapes.
    let text = if engine == Engine::MySql { text.replace('\\', "\\\\") } else { text };
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Characters that an engine could take for something else.
    const HARD: &str = "{\"a\":\"\\/ \\u0438 'x' \\\\ é 🦀 ?\"}";

    #[test]
    fn rows_come_back_as_they_were_put_in_with_every_column() {
        let database = Engine::current().fresh();
        for table in ALL {
            table.create(&database);
            assert_eq!(table.rows(&database), Vec::<Value>::new());
        }
        Table::Nodes.insert(&database, &json!({"id": 7, "name": "main", "port": 18082}));
        let node = &Table::Nodes.rows(&database)[0];
        let defaults = json!({
            "id": 7, "name": "main", "title": null, "host": "127.0.0.1", "port": 18082,
            "username": null, "password": null, "daemon": null, "pid": null, "sync_at": null,
            "worked": false, "worked_data": null, "available": true, "created_at": null,
            "updated_at": null,
        });
        assert_eq!(*node, defaults);
        let full = json!({
            "name": "O'Neill \\ é", "title": HARD, "host": "h", "port": 1, "username": "u",
            "password": HARD, "daemon": "d", "pid": 12, "sync_at": "2026-01-15 10:30:45",
            "worked": true, "worked_data": HARD, "available": false,
            "created_at": "2026-01-15 10:30:45", "updated_at": "2026-01-15 10:30:45",
        });
        Table::Nodes.insert(&database, &full);
        let mut rows = Table::Nodes.rows(&database);
        let found = rows.iter_mut().find(|row| row["port"] == 1).unwrap();
        assert!(object(found).contains_key("id"));
        found.as_object_mut().unwrap().remove("id");
        assert_eq!(*found, full);

        let mapping =
            json!({"brz_project_id": 23_131_991, "mb_project_uuid": "u", "changes_json": HARD});
        Table::Mapping.insert(&database, &mapping);
        let row = &Table::Mapping.rows(&database)[0];
        assert_eq!((&row["changes_json"], &row["created_at"]), (&json!(HARD), &Value::Null));
        assert_eq!(object(row).len(), 5);
        Table::Migrations.insert(
            &database,
            &json!({"brz_project_id": 1, "mb_project_uuid": "u", "status": "in_progress"}),
        );
        let before = Table::Migrations.rows(&database);
        assert_eq!(object(&before[0]).len(), 7);
        let set = json!({"status": "error", "error": HARD});
        assert_eq!(Table::Migrations.update(&database, &set, "brz_project_id = 1"), 1);
        let after = Table::Migrations.rows(&database);
        assert_eq!(changed(&before, &after), ["0.status", "0.error"]);
        assert_eq!(after[0]["error"], HARD);
    }

    #[test]
    fn a_login_has_the_rights_that_it_was_given_and_no_other() {
        if engine::is(Engine::Sqlite) {
            return;
        }
        let database = Engine::current().fresh();
        for table in ALL {
            table.create(&database);
        }
        Table::Nodes.insert(&database, &json!({"name": "main", "port": 18082}));
        let update = "SELECT, UPDATE (worked, worked_data)";
        let limited = login(&database, &[(Table::Nodes, update), (Table::Mapping, "SELECT")]);
        assert_eq!(Table::Nodes.rows(&limited).len(), 1);
        assert_eq!(Table::Mapping.rows(&limited).len(), 0);
        assert_eq!(Table::Nodes.update(&limited, &json!({"worked": true}), "port = 18082"), 1);
        let run = |sql: &str| super::super::sql::execute(limited.url(), sql);
        for refused in [
            "UPDATE monero_nodes SET pid = 1",
            "DELETE FROM monero_nodes",
            "UPDATE migrations_mapping SET changes_json = NULL",
            "INSERT INTO migrations_mapping (brz_project_id, mb_project_uuid) VALUES (1, 'u')",
            "DROP TABLE migrations_mapping",
        ] {
            assert!(run(refused).is_err(), "{refused}");
        }
        assert!(db::try_query(&limited, "SELECT * FROM migrations").is_err());
        run("CREATE TABLE procwarden_nodes (id int)").unwrap();
        run("INSERT INTO procwarden_nodes VALUES (1)").unwrap();
    }
}
