//! What the administrator of a database server has to run once: the database, its user, and the rights that are needed.
//!
//! procwarden makes, alters and indexes its own tables and removes none; the rights are no more than that.

use std::collections::BTreeSet;

use super::adopt::{Adopt, StatusPlace, TableName};
use super::database::{Engine, Server, server};

/// What is needed on the tables of ours in MariaDB.
const RIGHTS: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX";

/// Stands where the password belongs; the one of the URL is never shown.
const PASSWORD: &str = "'choose-a-password'";

/// The user where the URL names none.
const USER: &str = "procwarden";

/// Every table that the schema's files make; `procwarden_schema` is where it is kept which of them were run.
const TABLES: [&str; 9] = [
    "procwarden_nodes",
    "procwarden_migrations",
    "procwarden_revision",
    "procwarden_instances",
    "procwarden_events",
    "procwarden_outbox",
    "procwarden_schema",
    "procwarden_findings",
    "procwarden_watches",
];

/// What may be written of a node of theirs.
const NODE_COLUMNS: [&str; 2] = ["worked", "worked_data"];

/// The statements, in their order, for `psql` or `mariadb` of an administrator; none for a file.
///
/// Names are those of the URL and of `[adopt]`, quoted as the engine has it. In a database that is theirs the rights are
/// per table: ours are ours, theirs are read, and written in the columns that `write` needs.
#[must_use]
pub fn grants(url: &str, adopt: &Adopt) -> Vec<String> {
    let Ok(server) = server(url) else { return Vec::new() };
    let theirs = theirs(adopt);
    match server.engine {
        Engine::Postgres => postgres(&server, &theirs),
        _ if theirs.is_empty() => mysql(&server),
        _ => mysql_beside(&server, &theirs),
    }
}

/// Each table of theirs with the columns that are written.
fn theirs(adopt: &Adopt) -> Vec<(&TableName, Vec<&str>)> {
    let nodes = adopt.nodes().map(|name| (name, NODE_COLUMNS.to_vec()));
    let migrations = adopt.migrations().map(|table| {
        let columns = match &table.status {
            StatusPlace::Json { column, .. } => vec![column.as_str()],
            StatusPlace::Columns { status, error } => vec![status.as_str(), error.as_str()],
        };
        (&table.name, columns)
    });
    let written = |columns| if adopt.writes() { columns } else { Vec::new() };
    nodes.into_iter().chain(migrations).map(|(name, columns)| (name, written(columns))).collect()
}

/// The rights on a table of theirs.
fn on_theirs(table: &str, columns: &[&str], user: &str, quoted: fn(&str) -> String) -> Vec<String> {
    let mut statements = vec![format!("GRANT SELECT ON {table} TO {user};")];
    if !columns.is_empty() {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        statements.push(format!("GRANT UPDATE ({}) ON {table} TO {user};", columns.join(", ")));
    }
    statements
}

/// The owner of a table may do all with it. From 15 on nobody may make one in `public` unless it is granted; before,
/// and on many servers still, `CONNECT` and `USAGE` are everybody's, and to grant them again does no harm.
fn postgres(server: &Server, theirs: &[(&TableName, Vec<&str>)]) -> Vec<String> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let user = quoted(server.user.as_deref().unwrap_or(USER));
    let database = quoted(&server.database);
    let mut statements = vec![format!("CREATE USER {user} PASSWORD {PASSWORD};")];
    if theirs.is_empty() {
        // The template is the one that goes with any encoding.
        let database = format!("CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0;");
        statements.push(database);
    }
    statements.extend([
        format!("GRANT CONNECT ON DATABASE {database} TO {user};"),
        format!("\\connect {database}"),
        format!("GRANT USAGE, CREATE ON SCHEMA public TO {user};"),
    ]);
    let schemas: BTreeSet<&str> =
        theirs.iter().filter_map(|(name, _)| name.schema.as_deref()).collect();
    for schema in schemas.into_iter().filter(|schema| *schema != "public") {
        statements.push(format!("GRANT USAGE ON SCHEMA {} TO {user};", quoted(schema)));
    }
    for (name, columns) in theirs {
        let schema = name.schema.as_deref().map(|schema| quoted(schema) + ".");
        let table = schema.unwrap_or_default() + &quoted(&name.table);
        statements.extend(on_theirs(&table, columns, &user, quoted));
    }
    statements
}

/// `ALTER` and `INDEX` are for later versions of the schema. The name in GRANT is a pattern: `_` and `%` stand for
/// others there (MariaDB, "GRANT", database privileges).
fn mysql(server: &Server) -> Vec<String> {
    let database = server.database.replace('`', "``");
    let pattern = database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
    let user = mysql_user(server);
    vec![
        format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4;"),
        format!("CREATE USER {user} IDENTIFIED BY {PASSWORD};"),
        format!("GRANT {RIGHTS} ON `{pattern}`.* TO {user};"),
    ]
}

/// Table by table: a right on the database would be one on all that is theirs. Who is granted CREATE may be granted it on
/// a table that is not there yet, and the name of the database is no pattern before that of a table.
fn mysql_beside(server: &Server, theirs: &[(&TableName, Vec<&str>)]) -> Vec<String> {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let user = mysql_user(server);
    let database = quoted(&server.database);
    // With adopt.env it may be their own user, who is there.
    let mut statements =
        vec![format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {PASSWORD};")];
    let ours = TABLES.iter().map(|table| quoted(table));
    statements.extend(ours.map(|table| format!("GRANT {RIGHTS} ON {database}.{table} TO {user};")));
    for (name, columns) in theirs {
        let schema = name.schema.as_deref().map_or_else(|| database.clone(), quoted);
        let table = format!("{schema}.{}", quoted(&name.table));
        statements.extend(on_theirs(&table, columns, &user, quoted));
    }
    statements
}

fn mysql_user(server: &Server) -> String {
    let user = server.user.as_deref().unwrap_or(USER);
    format!("'{}'@'%'", user.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AdoptMode, MigrationsTable};

    fn grants(url: &str) -> Vec<String> {
        super::grants(url, &Adopt::default())
    }

    fn adopt(mode: AdoptMode) -> Adopt {
        let name = |schema: &str, table: &str| TableName {
            schema: Some(schema.to_owned()).filter(|schema| !schema.is_empty()),
            table: table.to_owned(),
        };
        Adopt {
            mode,
            nodes: Some(name("app", "monero_nodes")),
            migrations: Some(MigrationsTable {
                name: name("", "migrations_mapping"),
                project_id: "brz_project_id".into(),
                uuid: "mb_project_uuid".into(),
                status: StatusPlace::Json {
                    column: "changes_json".into(),
                    status: "status".into(),
                    error: "error".into(),
                },
            }),
            ..Adopt::default()
        }
    }

    /// A table that a file of the schema makes and that is not granted would stop `migrate`.
    #[test]
    fn every_table_of_the_schema_is_granted() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/mysql");
        for entry in std::fs::read_dir(dir).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for (_, rest) in text.match_indices("CREATE TABLE ").map(|(at, word)| {
                (at, text[at + word.len()..].trim_start_matches("IF NOT EXISTS "))
            }) {
                let name = rest.split([' ', '(', '\n']).next().unwrap();
                assert!(TABLES.contains(&name), "{name}");
            }
        }
    }

    #[test]
    fn beside_theirs_rights_are_per_table_and_column() {
        let url = "mysql://wd:hunter2@h/da_ta";
        let statements = super::grants(url, &adopt(AdoptMode::Write));
        assert_eq!(statements.len(), 1 + TABLES.len() + 4);
        assert!(statements[1].ends_with("INDEX ON `da_ta`.`procwarden_nodes` TO 'wd'@'%';"));
        assert_eq!(
            statements[statements.len() - 4..],
            [
                "GRANT SELECT ON `app`.`monero_nodes` TO 'wd'@'%';",
                "GRANT UPDATE (`worked`, `worked_data`) ON `app`.`monero_nodes` TO 'wd'@'%';",
                "GRANT SELECT ON `da_ta`.`migrations_mapping` TO 'wd'@'%';",
                "GRANT UPDATE (`changes_json`) ON `da_ta`.`migrations_mapping` TO 'wd'@'%';",
            ]
        );
        assert!(!statements.concat().contains(".* TO"), "{statements:?}");

        let statements = super::grants("postgres://wd@h/pw", &adopt(AdoptMode::Shadow));
        assert_eq!(
            statements[3..],
            [
                "GRANT USAGE, CREATE ON SCHEMA public TO \"wd\";",
                "GRANT USAGE ON SCHEMA \"app\" TO \"wd\";",
                "GRANT SELECT ON \"app\".\"monero_nodes\" TO \"wd\";",
                "GRANT SELECT ON \"migrations_mapping\" TO \"wd\";",
            ]
        );
        assert_eq!(super::grants(url, &adopt(AdoptMode::Off)), grants(url));
    }

    #[test]
    fn a_file_needs_nobody() {
        assert_eq!(grants("sqlite:///a.db"), [""; 0]);
    }

    #[test]
    fn names_come_from_the_url_and_the_password_does_not() {
        let statements = grants("postgres://wd:hunter2@h/pw?sslmode=require");
        assert_eq!(
            statements,
            [
                "CREATE USER \"wd\" PASSWORD 'choose-a-password';",
                "CREATE DATABASE \"pw\" ENCODING 'UTF8' TEMPLATE template0;",
                "GRANT CONNECT ON DATABASE \"pw\" TO \"wd\";",
                "\\connect \"pw\"",
                "GRANT USAGE, CREATE ON SCHEMA public TO \"wd\";",
            ]
        );
        let statements = grants("mysql://wd:hunter2@h/pw");
        assert_eq!(
            statements,
            [
                "CREATE DATABASE `pw` CHARACTER SET utf8mb4;",
                "CREATE USER 'wd'@'%' IDENTIFIED BY 'choose-a-password';",
                "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `pw`.* TO 'wd'@'%';",
            ]
        );
        assert_eq!(grants("mariadb://wd@h/pw"), statements);
        assert!(grants("postgres://h/pw")[0].contains("\"procwarden\""), "the URL names nobody");
    }

    #[test]
    fn hostile_names_stay_in_their_quotes() {
        let postgres = grants("postgres://a%22b@h/c%22%3B%20DROP").concat();
        assert!(postgres.contains("\"a\"\"b\"") && postgres.contains("\"c\"\"; DROP\""));
        let mysql = grants("mysql://a%27b%5C@h/c%60_d%25").concat();
        assert!(mysql.contains("'a''b\\\\'@'%'"), "{mysql}");
        assert!(mysql.contains("CREATE DATABASE `c``_d%` "), "{mysql}");
        assert!(mysql.contains("ON `c``\\_d\\%`.*"), "{mysql}");
    }
}
