//! The Laravel module's table of nodes: read as it is, and two of its columns written. Nothing else of it, ever.

use super::db::{Arg, Session, args};
use super::dialect::{self, Text};
use super::their_columns::{Column, Kind, TheirTable};
use super::{Engine, Store, StoreError, single, write};
use crate::config::TableName;
use crate::domain::adopt::Room;
use crate::domain::node::Password;

/// Columns that change by themselves with each UPDATE unless they are set; two arguments, the schema and the table.
const SELF_MADE: &str = "SELECT CAST(column_name AS CHAR) AS name FROM information_schema.columns \
     WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND extra LIKE '%on update%'";

/// Their table, looked up once, with the statements about it.
#[derive(Debug, Clone)]
pub struct TheirNodesTable {
    name: TableName,
    select: Text,
    update: Text,
    key: Key,
    worked: Kind,
    /// What the column of `worked_data` holds.
    room: Room,
    kept: Vec<String>,
}

/// How a row is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// By a number.
    Number,
    /// By the text that was read: first as the column compares, so that an index serves, then byte for byte.
    Text,
    /// By the text that was read, byte for byte.
    Exact,
}

impl TheirNodesTable {
    /// As the configuration names it.
    #[must_use]
    pub const fn name(&self) -> &TableName {
        &self.name
    }

    /// Columns that would change by themselves when ours are written. They are set to what they are, which takes the
    /// right to write them.
    #[must_use]
    pub fn kept(&self) -> &[String] {
        &self.kept
    }
}

/// One of their nodes, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirNode {
    /// Its number.
    pub id: i64,
    /// The same as it is written there.
    pub key: String,
    /// Its name, by their rules.
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// Empty where it is NULL.
    pub host: String,
    /// Not held to any bounds.
    pub port: i64,
    /// User of the RPC login.
    pub username: Option<String>,
    /// As their application encrypted it.
    pub password: Option<Password>,
    /// The daemon it uses.
    pub daemon: Option<String>,
    /// Not held to any bounds; none if it is no number.
    pub pid: Option<i64>,
    /// Whether it is to be checked; NULL is no.
    pub available: bool,
    /// Whether it works, by what was written there last.
    pub worked: Option<bool>,
    /// Their last look, JSON text.
    pub worked_data: Option<String>,
}

/// A row that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirFault {
    /// Its id, as it is written there.
    pub id: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What is to be written into a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// [`TheirNode::key`] of the row.
    pub key: String,
    /// Whether it works.
    pub worked: bool,
    /// The last look, a JSON object.
    pub data: String,
}

/// Every column as text.
#[derive(sqlx::FromRow)]
struct TheirRow {
    id: Option<String>,
    name: Option<String>,
    title: Option<String>,
    host: Option<String>,
    port: Option<String>,
    username: Option<String>,
    password: Option<String>,
    daemon: Option<String>,
    pid: Option<String>,
    available: Option<String>,
    worked: Option<String>,
    worked_data: Option<String>,
}

impl TryFrom<TheirRow> for TheirNode {
    type Error = TheirFault;

    fn try_from(row: TheirRow) -> Result<Self, TheirFault> {
        let key = row.id.unwrap_or_default();
        let fault = |problem: String| TheirFault { id: key.clone(), problem };
        let id = number(&key).filter(|id| *id > 0);
        let id = id.ok_or_else(|| fault(format!("'{key}' is no id: a whole number above 0")))?;
        let port = row.port.unwrap_or_default();
        let port =
            number(&port).ok_or_else(|| fault(format!("port '{port}' is none of 1 to 65535")))?;
        let available = match row.available {
            None => false,
            Some(text) => truth(&text)
                .ok_or_else(|| fault(format!("available is '{text}', neither true nor false")))?,
        };
        Ok(Self {
            id,
            name: row.name.unwrap_or_default(),
            title: row.title,
            host: row.host.unwrap_or_default(),
            port,
            username: row.username.filter(|text| !text.is_empty()),
            password: row.password.filter(|text| !text.is_empty()).map(Password::laravel),
            daemon: row.daemon,
            pid: row.pid.as_deref().and_then(number),
            available,
            worked: row.worked.as_deref().and_then(truth),
            worked_data: row.worked_data,
            key,
        })
    }
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// As three engines write a truth value, some as text.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "\u{1}" => Some(true),
        "false" | "f" | "" | "\0" => Some(false),
        number => number.parse::<i64>().ok().map(|number| number != 0),
    }
}

impl Store {
    /// Looks their table up.
    ///
    /// # Errors
    /// [`StoreError::Theirs`] if it is not there or lacks a column, [`StoreError::Database`].
    pub async fn their_nodes_table(&self, name: &TableName) -> Result<TheirNodesTable, StoreError> {
        let table = single!(self, session => TheirTable::read(session, name))?;
        let kept = if self.engine() == Engine::MySql {
            let args = args![name.schema.as_deref(), &name.table];
            let rows: Vec<(String,)> = single!(self, session => session.all(SELF_MADE, args))?;
            rows.into_iter().map(|(name,)| name).collect()
        } else {
            Vec::new()
        };
        described(&table, kept)
    }

    /// Their nodes, by id; those that cannot be understood with what is wrong.
    ///
    /// # Errors
    /// [`StoreError::Theirs`] if we may not read them, [`StoreError::Database`].
    pub async fn their_nodes(
        &self,
        table: &TheirNodesTable,
    ) -> Result<Vec<Result<TheirNode, TheirFault>>, StoreError> {
        let rows: Result<Vec<TheirRow>, StoreError> =
            single!(self, session => session.all(&table.select, &[]));
        let rows = rows.map_err(|error| unreadable(table, error))?;
        let mut nodes: Vec<_> = rows.into_iter().map(TheirNode::try_from).collect();
        nodes.sort_by_key(|node| node.as_ref().map_or(i64::MAX, |node| node.id));
        Ok(nodes)
    }

    /// Writes `worked` and `worked_data`, all in one transaction. A row that is gone is left alone. Gives how many
    /// there were.
    ///
    /// # Errors
    /// [`StoreError::TheirsDenied`] if we may not, [`StoreError::Database`]: then nothing is written.
    pub async fn tell_their_nodes(
        &self,
        table: &TheirNodesTable,
        told: &[Told],
    ) -> Result<u64, StoreError> {
        if told.is_empty() {
            return Ok(0);
        }
        let done: Result<u64, StoreError> = write!(self, tx => tell(tx, table, told));
        done.map_err(|error| denied(table, self.engine(), error))
    }

    /// Could rows be written at all? Asks for the write of a row that cannot be: none is touched.
    ///
    /// # Errors
    /// As [`Store::tell_their_nodes`]: then it is the table's trouble, not one row's.
    pub async fn can_tell_their_nodes(&self, table: &TheirNodesTable) -> Result<(), StoreError> {
        let done: Result<u64, StoreError> = write!(self, tx => tell_none(tx, table));
        done.map(drop).map_err(|error| denied(table, self.engine(), error))
    }

    /// Lets the server prepare what is asked of their table; none is run. Gives the number of statements.
    ///
    /// # Errors
    /// [`StoreError::Statement`] for the first one that the server does not take.
    pub async fn verify_their_nodes(
        &self,
        table: &TheirNodesTable,
        writes: bool,
    ) -> Result<usize, StoreError> {
        let all = [("their_nodes::select", &table.select), ("their_nodes::update", &table.update)];
        let asked = if writes { &all[..] } else { &all[..1] };
        for &(name, text) in asked {
            single!(self, session => session.prepare(text))
                .map_err(|error| StoreError::Statement { name, source: Box::new(error) })?;
        }
        Ok(asked.len())
    }
}

fn described(table: &TheirTable, kept: Vec<String>) -> Result<TheirNodesTable, StoreError> {
    const NEEDED: [&str; 10] = [
        "id",
        "name",
        "host",
        "port",
        "username",
        "password",
        "pid",
        "available",
        "worked",
        "worked_data",
    ];
    let found = table.require(NEEDED)?;
    let mut columns: Vec<String> = NEEDED
        .iter()
        .zip(found)
        .map(|(name, column)| format!("{} AS {name}", table.text_of(column)))
        .collect();
    for name in ["title", "daemon"] {
        let column = table.column(name);
        let text = column.map_or("CAST(NULL AS CHAR)".to_owned(), |it| table.text_of(it));
        columns.push(format!("{text} AS {name}"));
    }
    let [id, .., worked, data] = found;
    let mut sets = vec![
        format!("{} = {}", table.name_of(worked), truth_value(table.engine, &worked.kind)),
        format!("{} = {}", table.name_of(data), data_value(table.engine, &data.kind)),
    ];
    for name in &kept {
        let name = table.name_of(&Column { name: name.clone(), kind: Kind::Text(Room::Any) });
        sets.push(format!("{name} = {name}"));
    }
    let key = match id.kind {
        Kind::Integer => Key::Number,
        Kind::Text(_) => Key::Text,
        _ => Key::Exact,
    };
    let (column, exactly) = (table.name_of(id), table.is_exactly(id));
    let row = match key {
        Key::Number => format!("{column} = ?"),
        Key::Text => format!("{column} = ? AND {exactly}"),
        Key::Exact => exactly,
    };
    let (name, sets) = (table.quoted(), sets.join(", "));
    let select = format!("SELECT {} FROM {name}", columns.join(", "));
    let update = format!("UPDATE {name} SET {sets} WHERE {row}");
    Ok(TheirNodesTable {
        name: table.name.clone(),
        select: dialect::named(table.engine, &select),
        update: dialect::named(table.engine, &update),
        key,
        worked: worked.kind.clone(),
        room: if let Kind::Text(room) = data.kind { room } else { Room::Any },
        kept,
    })
}

/// How `worked` is set.
fn truth_value(engine: Engine, kind: &Kind) -> &'static str {
    match (engine, kind) {
        (Engine::Postgres, Kind::Boolean) => "(? <> 0)",
        _ => "?",
    }
}

/// How `worked_data` is set.
fn data_value(engine: Engine, kind: &Kind) -> &'static str {
    match (engine, kind) {
        // A jsonb takes it too.
        (Engine::Postgres, Kind::Json) => "CAST(? AS json)",
        _ => "?",
    }
}

async fn tell(tx: &mut Session, table: &TheirNodesTable, told: &[Told]) -> Result<u64, StoreError> {
    let mut there = 0;
    for it in told {
        let data = fitting(&it.data, table.room);
        there += set(tx, table, Some(&it.key), it.worked, data.as_deref()).await?;
    }
    Ok(there)
}

/// No key is NULL, and nothing equals it.
async fn tell_none(tx: &mut Session, table: &TheirNodesTable) -> Result<u64, StoreError> {
    set(tx, table, None, false, None).await
}

async fn set(
    tx: &mut Session,
    table: &TheirNodesTable,
    key: Option<&str>,
    worked: bool,
    data: Option<&str>,
) -> Result<u64, StoreError> {
    let worked = i64::from(worked);
    let worked_text = worked.to_string();
    let mut values: Vec<Arg<'_>> = vec![
        match table.worked {
            Kind::Text(_) => Arg::from(&worked_text),
            _ => Arg::from(worked),
        },
        Arg::from(data),
    ];
    match table.key {
        Key::Number => values.push(Arg::from(key.and_then(number))),
        Key::Text => values.extend([Arg::from(key), Arg::from(key)]),
        Key::Exact => values.push(Arg::from(key)),
    }
    tx.execute(&table.update, &values).await
}

/// The object, or as much of it as the column takes: JSON that is cut off is none.
fn fitting(data: &str, room: Room) -> Option<String> {
    if room.holds(data) {
        return Some(data.to_owned());
    }
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(data).ok()?;
    for wanted in [&["method", "message", "reason", "last_check"][..], &["last_check"]] {
        object.retain(|name, _| wanted.contains(&name.as_str()));
        let text = serde_json::Value::from(object.clone()).to_string();
        if room.holds(&text) {
            return Some(text);
        }
    }
    None
}

fn unreadable(table: &TheirNodesTable, error: StoreError) -> StoreError {
    match error {
        StoreError::Rights(source) => StoreError::Theirs {
            table: table.name.to_string(),
            problem: format!("the database's user may not read it: GRANT SELECT ({source})"),
        },
        error => error,
    }
}

fn denied(table: &TheirNodesTable, engine: Engine, error: StoreError) -> StoreError {
    let is_denied = match &error {
        StoreError::Rights(_) => true,
        // A server that is read-only is another matter: it was switched over.
        StoreError::ReadOnly(_) => engine == Engine::Sqlite,
        _ => false,
    };
    if is_denied {
        StoreError::TheirsDenied { table: table.name.to_string(), source: Box::new(error) }
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> TheirRow {
        let text = |text: &str| Some(text.to_owned());
        TheirRow {
            id: text("7"),
            name: text("a"),
            title: None,
            host: text("h"),
            port: text("18082"),
            username: text(""),
            password: text(""),
            daemon: None,
            pid: text("x"),
            available: text("t"),
            worked: None,
            worked_data: None,
        }
    }

    #[test]
    fn a_row_is_read_from_text() {
        let node = TheirNode::try_from(row()).unwrap();
        assert_eq!((node.id, node.port, node.pid, node.available), (7, 18_082, None, true));
        assert_eq!((node.username, node.password), (None, None), "nothing is no login");
        for (id, good) in [("007", true), ("0", false), ("-1", false), ("x", false), ("", false)] {
            let read = TheirNode::try_from(TheirRow { id: Some(id.to_owned()), ..row() });
            assert_eq!(read.is_ok(), good, "{id}");
            assert_eq!(read.map_or_else(|fault| fault.id, |node| node.key), id);
        }
        let bad = TheirRow { available: Some("maybe".to_owned()), ..row() };
        assert!(TheirNode::try_from(bad).unwrap_err().problem.contains("maybe"));
    }

    #[test]
    fn truth_as_three_engines_write_it() {
        for (text, value) in [
            ("1", Some(true)),
            ("0", Some(false)),
            ("t", Some(true)),
            ("FALSE", Some(false)),
            ("\u{1}", Some(true)),
            ("2", Some(true)),
            ("yes", None),
        ] {
            assert_eq!(truth(text), value, "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_shortened_and_stays_json() {
        let long = format!(r#"{{"method":"api","url":"{}","last_check":"t"}}"#, "x".repeat(300));
        assert_eq!(fitting(&long, Room::Any).as_deref(), Some(long.as_str()));
        let short = fitting(&long, Room::Chars(255)).unwrap();
        assert_eq!(short, r#"{"method":"api","last_check":"t"}"#);
        assert_eq!(fitting(&long, Room::Chars(20)).unwrap(), r#"{"last_check":"t"}"#);
        assert_eq!(fitting(&long, Room::Chars(3)), None);
    }
}
