//! Their table of migrations: read whole, and written in one place alone, where a run that is in progress turned to error.

use super::db::{Arg, Session};
use super::dialect::{Text, named};
use super::their_columns::{Column, Kind, TheirTable};
use super::{Engine, Store, StoreError, single};
use crate::config::{MigrationsTable, StatusPlace};
use crate::domain::Timestamp;
use crate::domain::adopt::{NoRoom, Record, Room, with_error};
use crate::mask::mask_prose;

/// Their table, looked up once: the statements about it, and how much its columns hold.
#[derive(Debug)]
pub struct TheirMigrations {
    name: String,
    place: StatusPlace,
    read: Text,
    update: Text,
    project_is_number: bool,
    /// What the column of the JSON or of the error's text holds.
    room: Room,
}

/// A write to one of their rows; made by [`TheirMigrations::error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirWrite {
    project_id: String,
    uuid: String,
    /// What must stand there.
    was: String,
    /// What shall stand there: the JSON, or the error's text.
    text: String,
}

/// A row as text.
#[derive(sqlx::FromRow)]
struct TheirRow {
    project_id: Option<String>,
    uuid: Option<String>,
    status: Option<String>,
    error: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl TheirMigrations {
    /// As the configuration names it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The write that sets this row to `error`.
    ///
    /// # Errors
    /// [`NoRoom`] if it does not fit into the column.
    pub fn error(&self, record: &Record, error: &str, at: Timestamp) -> Result<TheirWrite, NoRoom> {
        let was = record.text.clone().ok_or(NoRoom)?;
        let text = match &self.place {
            StatusPlace::Json { status, error: key, .. } => {
                with_error(&was, (status, key), error, at, self.room)?
            }
            StatusPlace::Columns { .. } => self.room.cut(error),
        };
        Ok(TheirWrite {
            project_id: record.project_id.clone(),
            uuid: record.uuid.clone(),
            was,
            text,
        })
    }

    /// The row as it stands after a write.
    #[must_use]
    pub fn after(&self, write: &TheirWrite) -> Record {
        let mut record = match &self.place {
            StatusPlace::Json { status, error, .. } => {
                Record::of_json(Some(write.text.clone()), status, error)
            }
            StatusPlace::Columns { .. } => {
                Record::of_columns(Some("error".to_owned()), Some(write.text.clone()))
            }
        };
        record.project_id.clone_from(&write.project_id);
        record.uuid.clone_from(&write.uuid);
        record
    }

    fn record(&self, row: TheirRow) -> Record {
        let mut record = match &self.place {
            StatusPlace::Json { status, error, .. } => Record::of_json(row.status, status, error),
            StatusPlace::Columns { .. } => Record::of_columns(row.status, row.error),
        };
        record.project_id = row.project_id.unwrap_or_default();
        record.uuid = row.uuid.unwrap_or_default();
        // It goes into answers and logs.
        record.error = record.error.as_deref().map(mask_prose);
        record.created_at = row.created_at.as_deref().and_then(Timestamp::lenient);
        record.updated_at = row.updated_at.as_deref().and_then(Timestamp::lenient);
        record
    }
}

impl Store {
    /// Looks their table of migrations up.
    ///
    /// # Errors
    /// [`StoreError::Theirs`] if it, or a column of it, is not there; [`StoreError::Database`].
    pub async fn their_migrations(
        &self,
        settings: &MigrationsTable,
    ) -> Result<TheirMigrations, StoreError> {
        let table = single!(self, session => TheirTable::read(session, &settings.name))?;
        describe(&table, settings)
    }

    /// Lets the server prepare the statements about their table; the write only where it may be written. Their number.
    ///
    /// # Errors
    /// [`StoreError::Statement`].
    pub async fn verify_their_migrations(
        &self,
        table: &TheirMigrations,
        writes: bool,
    ) -> Result<usize, StoreError> {
        let statements =
            [("their_migrations::read", &table.read), ("their_migrations::update", &table.update)];
        let statements = &statements[..if writes { 2 } else { 1 }];
        for (name, text) in statements {
            single!(self, session => session.prepare(*text))
                .map_err(|error| StoreError::Statement { name, source: Box::new(error) })?;
        }
        Ok(statements.len())
    }

    /// Every row of theirs.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn their_records(&self, table: &TheirMigrations) -> Result<Vec<Record>, StoreError> {
        let rows: Vec<TheirRow> = single!(self, session => session.all(&table.read, &[]))?;
        Ok(rows.into_iter().map(|row| table.record(row)).collect())
    }
}

fn describe(table: &TheirTable, settings: &MigrationsTable) -> Result<TheirMigrations, StoreError> {
    let (status_name, error_name) = match &settings.status {
        StatusPlace::Json { column, .. } => (column, None),
        StatusPlace::Columns { status, error } => (status, Some(error)),
    };
    let names = [settings.project_id.as_str(), settings.uuid.as_str(), status_name.as_str()];
    let [project, uuid, status] = table.require(names)?;
    let error = match error_name {
        Some(name) => Some(table.require([name.as_str()])?[0]),
        None => None,
    };
    let text_or_null = |column: Option<&Column>, name: &str| {
        let text = column.map_or_else(|| "NULL".to_owned(), |column| table.text_of(column));
        // PostgreSQL takes a bare NULL for text, the others for nothing that has a type.
        format!("{text} AS {name}")
    };
    let read = format!(
        "SELECT {} AS project_id, {} AS uuid, {} AS status, {}, {}, {} FROM {}",
        table.text_of(project),
        table.text_of(uuid),
        table.text_of(status),
        text_or_null(error, "error"),
        text_or_null(table.column("created_at"), "created_at"),
        text_or_null(table.column("updated_at"), "updated_at"),
        table.quoted(),
    );
    let project_is_number = project.kind == Kind::Integer;
    let is_project = if project_is_number {
        format!("{} = ?", table.name_of(project))
    } else {
        table.is_exactly(project)
    };
    let set = error.map_or_else(
        || format!("{} = {}", table.name_of(status), value(table, status)),
        |error| {
            format!(
                "{} = 'error', {} = {}",
                table.name_of(status),
                table.name_of(error),
                value(table, error)
            )
        },
    );
    let update = format!(
        "UPDATE {} SET {set} WHERE {is_project} AND {} AND {}",
        table.quoted(),
        table.is_exactly(uuid),
        table.is_exactly(status),
    );
    let limit = |column: &Column| match column.kind {
        Kind::Text(room) => room,
        _ => Room::Any,
    };
    Ok(TheirMigrations {
        name: settings.name.to_string(),
        place: settings.status.clone(),
        read: named(table.engine, &read),
        update: named(table.engine, &update),
        project_is_number,
        room: limit(error.unwrap_or(status)),
    })
}

/// The argument as the column takes it.
fn value(table: &TheirTable, column: &Column) -> &'static str {
    match (table.engine, &column.kind) {
        (Engine::Postgres, Kind::Json) => "CAST(? AS json)",
        _ => "?",
    }
}

/// Writes one row of theirs inside a transaction of ours; false if it is not as it was read.
pub(super) async fn write(
    tx: &mut Session,
    table: &TheirMigrations,
    write: &TheirWrite,
) -> Result<bool, StoreError> {
    let project = if table.project_is_number {
        Arg::Int(write.project_id.parse().ok())
    } else {
        Arg::from(&write.project_id)
    };
    let args = [Arg::from(&write.text), project, Arg::from(&write.uuid), Arg::from(&write.was)];
    match tx.execute(&table.update, &args).await {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        // A second row of this key came since it was read: nothing of it stands.
        Ok(_) => Err(StoreError::Undone),
        Err(source @ StoreError::Rights(_)) => {
            Err(StoreError::TheirsDenied { table: table.name.clone(), source: Box::new(source) })
        }
        Err(error) => Err(error),
    }
}
