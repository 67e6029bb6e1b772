//! A table that is not ours: which columns it has and of what kind, and how one is read and compared on each engine.
//!
//! Every column is read as text, whatever its type: their tables were made by others, on three engines, over years.

use super::db::{Session, args};
use super::{Engine, StoreError};
use crate::config::TableName;
use crate::domain::adopt::Room;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole numbers.
    Integer,
    /// Text, and how much of it.
    Text(Room),
    /// JSON as a type of its own.
    Json,
    /// True or false as a type of its own (PostgreSQL).
    Boolean,
    /// Anything else, by its name.
    Other(String),
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name, as the database has it.
    pub(super) name: String,
    /// What it holds.
    pub(super) kind: Kind,
}

/// A table that was looked up.
#[derive(Debug, Clone)]
pub(super) struct TheirTable {
    pub(super) engine: Engine,
    pub(super) name: TableName,
    columns: Vec<Column>,
}

/// As information schemas tell it.
#[derive(sqlx::FromRow)]
struct ColumnRow {
    name: String,
    kind: String,
    width: Option<i64>,
}

/// The columns of a table; two arguments, the schema and the table.
const fn columns(engine: Engine) -> &'static str {
    match engine {
        // The declared type is a word of its author's: VARCHAR(255) is not enforced, and read all the same.
        Engine::Sqlite => {
            "SELECT name, lower(type) AS kind, NULL AS width FROM pragma_table_info(?2, ?1) ORDER BY cid"
        }
        // The catalogue shows tables that we have no right on, and the lookup follows search_path as a query does.
        Engine::Postgres => {
            "SELECT CAST(a.attname AS text) AS name, format_type(a.atttypid, NULL) AS kind, \
             CAST(CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS bigint) AS width \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = to_regclass(COALESCE(quote_ident(?) || '.', '') || quote_ident(?)) \
             AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        }
        Engine::MySql => {
            "SELECT CAST(column_name AS CHAR) AS name, CAST(data_type AS CHAR) AS kind, \
             CAST(character_maximum_length AS SIGNED) AS width FROM information_schema.columns \
             WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position"
        }
    }
}

impl TheirTable {
    /// Looks a table up.
    ///
    /// # Errors
    /// [`StoreError::Theirs`] if there is no such table, or we may not see it.
    pub(super) async fn read(session: &mut Session, name: &TableName) -> Result<Self, StoreError> {
        let engine = session.engine();
        let rows: Vec<ColumnRow> =
            session.all(columns(engine), args![name.schema.as_deref(), &name.table]).await?;
        if rows.is_empty() {
            return Err(StoreError::Theirs {
                table: name.to_string(),
                problem: "there is no such table in this database, or its user may not read it: check database.url, the \
                          name (schema.table), and GRANT SELECT"
                    .to_owned(),
            });
        }
        let columns = rows
            .into_iter()
            .map(|row| Column { kind: kind_of(&row.kind, row.width), name: row.name })
            .collect();
        Ok(Self { engine, name: name.clone(), columns })
    }

    /// A column by its name; MariaDB and SQLite do not tell upper from lower case in it.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        let exact = self.columns.iter().find(|column| column.name == name);
        exact.or_else(|| self.columns.iter().find(|it| it.name.eq_ignore_ascii_case(name)))
    }

    /// The columns of these names, in their order.
    ///
    /// # Errors
    /// [`StoreError::Theirs`] naming all that are not there.
    pub(super) fn require<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[&Column; N], StoreError> {
        let missing: Vec<&str> =
            names.iter().copied().filter(|name| self.column(name).is_none()).collect();
        if !missing.is_empty() {
            let have: Vec<&str> = self.columns.iter().map(|it| it.name.as_str()).collect();
            return Err(StoreError::Theirs {
                table: self.name.to_string(),
                problem: format!(
                    "it has no column {}; it has {}",
                    missing.join(", "),
                    have.join(", ")
                ),
            });
        }
        Ok(names.map(|name| self.column(name).unwrap_or(&self.columns[0])))
    }

    /// The table's name in a statement.
    pub(super) fn quoted(&self) -> String {
        let table = quoted(self.engine, &self.name.table);
        match &self.name.schema {
            Some(schema) => format!("{}.{table}", quoted(self.engine, schema)),
            None => table,
        }
    }

    /// The expression that reads a column as text.
    pub(super) fn text_of(&self, column: &Column) -> String {
        let name = quoted(self.engine, &column.name);
        match self.engine {
            Engine::Sqlite | Engine::Postgres => format!("CAST({name} AS text)"),
            Engine::MySql => format!("CONVERT({name} USING utf8mb4)"),
        }
    }

    /// The condition that a column's text is exactly the argument, byte for byte; one argument.
    pub(super) fn is_exactly(&self, column: &Column) -> String {
        let text = self.text_of(column);
        match self.engine {
            Engine::Sqlite => format!("{text} = ? COLLATE BINARY"),
            Engine::Postgres => format!("{text} = ?"),
            // Collations of text find 'A' equal to 'a', and 'a' to 'a '.
            Engine::MySql => format!("CAST({text} AS BINARY) = CAST(? AS BINARY)"),
        }
    }

    /// A column's name in a statement.
    pub(super) fn name_of(&self, column: &Column) -> String {
        quoted(self.engine, &column.name)
    }
}

/// A name as the engine takes it between its quotes.
fn quoted(engine: Engine, name: &str) -> String {
    if engine == Engine::MySql {
        format!("`{}`", name.replace('`', "``"))
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn kind_of(kind: &str, width: Option<i64>) -> Kind {
    let (base, inside) = match kind.split_once('(') {
        Some((base, rest)) => (base.trim(), rest.split(')').next()),
        None => (kind.trim(), None),
    };
    let width = width.and_then(|width| usize::try_from(width).ok());
    let width = width.or_else(|| inside.and_then(|text| text.trim().parse().ok()));
    match base {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "int2" | "int4"
        | "int8" | "unsigned big int" => Kind::Integer,
        "char" | "varchar" | "character varying" | "character" | "nvarchar" | "nchar" => {
            Kind::Text(width.map_or(Room::Any, Room::Chars))
        }
        // Their limits are bytes, or none.
        "text" | "tinytext" | "mediumtext" | "longtext" | "clob" => {
            Kind::Text(width.map_or(Room::Any, Room::Bytes))
        }
        "json" | "jsonb" => Kind::Json,
        "boolean" | "bool" => Kind::Boolean,
        other => Kind::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_the_words_of_each_engine() {
        let cases = [
            ("int", None, Kind::Integer),
            ("integer", None, Kind::Integer),
            ("bigint", None, Kind::Integer),
            ("tinyint(1)", None, Kind::Integer),
            ("varchar", Some(255), Kind::Text(Room::Chars(255))),
            ("varchar(255)", None, Kind::Text(Room::Chars(255))),
            ("character varying", Some(255), Kind::Text(Room::Chars(255))),
            ("character varying", None, Kind::Text(Room::Any)),
            ("text", None, Kind::Text(Room::Any)),
            ("text", Some(65_535), Kind::Text(Room::Bytes(65_535))),
            ("longtext", Some(4_294_967_295), Kind::Text(Room::Bytes(4_294_967_295))),
            ("json", None, Kind::Json),
            ("jsonb", None, Kind::Json),
            ("boolean", None, Kind::Boolean),
            ("uuid", None, Kind::Other("uuid".to_owned())),
        ];
        for (text, width, kind) in cases {
            assert_eq!(kind_of(text, width), kind, "{text}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted(Engine::MySql, "a`; DROP"), "`a``; DROP`");
        assert_eq!(quoted(Engine::Postgres, "a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(quoted(Engine::Sqlite, "a\"b"), "\"a\"\"b\"");
    }
}
