//! Writing the rows of migrations: many in one statement on a server, one after another in SQLite.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;

use super::batch::{self, BATCH};
use super::db::{Session, args};
use super::dialect::storable;
use super::identity::IdentityColumns;
use super::{Engine, StoreError, dialect};
use crate::domain::Exit;
use crate::domain::migration::{Migration, Reason, Source};
use crate::domain::reconcile::Basis;

pub(super) const WRITTEN: &str =
    "SELECT id FROM procwarden_migrations WHERE writer = ? AND change_seq = ?";

/// A row as it shall be, and what must stand there. What hosts and files say goes into a JSON text here, so it is made
/// storable before.
#[derive(Serialize)]
pub(super) struct Update<'a> {
    id: i64,
    was_run: i64,
    was_status: &'static str,
    was_instance: String,
    was_updated: i64,
    instance: Cow<'a, str>,
    status: &'static str,
    state: &'static str,
    reason: Option<&'static str>,
    status_source: Option<&'static str>,
    run: i64,
    since: i64,
    updated_at: i64,
    status_updated_at: Option<i64>,
    ended_at: Option<i64>,
    lock_pid: Option<i64>,
    lock_started: Option<i64>,
    lock_dev: Option<i64>,
    lock_ino: Option<i64>,
    lock_mtime_ns: Option<i64>,
    lock_size: Option<i64>,
    dir_dev: Option<i64>,
    dir_ino: Option<i64>,
    #[serde(flatten)]
    identity: IdentityColumns,
    lock_taken: i64,
    their_status: Option<&'a str>,
    exit_status: Option<i64>,
    // The long ones are the last: MariaDB walks over all that stands before a field to find it.
    host_id: Cow<'a, str>,
    error: Option<Cow<'a, str>>,
    lock_file: Option<Cow<'a, str>>,
    lock_data: Option<Cow<'a, str>>,
}

impl<'a> Update<'a> {
    pub(super) fn new(id: i64, basis: Basis, row: &'a Migration) -> Self {
        Self {
            id,
            was_run: basis.run,
            was_status: basis.status.as_str(),
            was_instance: basis.instance,
            was_updated: basis.updated_at.0,
            instance: storable(&row.instance),
            status: row.status.as_str(),
            state: row.state.as_str(),
            reason: row.reason.map(Reason::as_str),
            status_source: row.status_source.map(Source::as_str),
            run: row.run,
            since: row.since.0,
            updated_at: row.updated_at.0,
            status_updated_at: row.status_updated_at.map(|at| at.0),
            ended_at: row.ended_at.map(|at| at.0),
            lock_pid: row.lock_pid,
            lock_started: row.lock_started.map(|at| at.0),
            lock_dev: row.lock_mark.map(|mark| mark.dev.cast_signed()),
            lock_ino: row.lock_mark.map(|mark| mark.ino.cast_signed()),
            lock_mtime_ns: row.lock_mark.map(|mark| mark.mtime_ns),
            lock_size: row.lock_mark.map(|mark| mark.size.cast_signed()),
            dir_dev: row.dir.map(|dir| dir.dev.cast_signed()),
            dir_ino: row.dir.map(|dir| dir.ino.cast_signed()),
            identity: IdentityColumns::of(row.identity.as_ref()),
            lock_taken: i64::from(row.lock_taken),
            their_status: row.their_status.as_deref(),
            exit_status: row.exit.map(Exit::wait_status),
            host_id: storable(&row.host_id),
            error: row.error.as_deref().map(storable),
            lock_file: row.lock_file.as_deref().map(storable),
            lock_data: row.lock_data.as_deref().map(storable),
        }
    }
}

/// Writes rows, each by compare-and-set; the ids of those that were left alone. `writer` and `seq` mark what is written,
/// and `seq` is this transaction's alone.
pub(super) async fn update(
    tx: &mut Session,
    (writer, seq): (&str, i64),
    updates: &[Update<'_>],
) -> Result<BTreeSet<i64>, StoreError> {
    let engine = tx.engine();
    let statement = dialect::update_migrations(engine);
    let mut changed = 0;
    if engine == Engine::Sqlite {
        for row in updates {
            changed += update_one(tx, statement, (writer, seq), row).await?;
        }
    } else {
        for batch in updates.chunks(BATCH) {
            let rows = batch::rows(engine, batch)?;
            changed += match engine {
                Engine::MySql => tx.execute(statement, args![&rows, writer, seq]).await?,
                _ => tx.execute(statement, args![writer, seq, &rows]).await?,
            };
        }
    }
    if changed == updates.len() as u64 {
        return Ok(BTreeSet::new());
    }
    let ids: Vec<(i64,)> = tx.all(WRITTEN, args![writer, seq]).await?;
    let written: BTreeSet<i64> = ids.into_iter().map(|(id,)| id).collect();
    Ok(updates.iter().map(|it| it.id).filter(|id| !written.contains(id)).collect())
}

async fn update_one(
    tx: &mut Session,
    statement: &'static str,
    (writer, seq): (&str, i64),
    row: &Update<'_>,
) -> Result<u64, StoreError> {
    let identity = &row.identity;
    tx.execute(
        statement,
        args![
            row.instance.as_ref(),
            row.host_id.as_ref(),
            row.status,
            row.state,
            row.reason,
            row.status_source,
            row.error.as_deref(),
            row.run,
            row.since,
            row.updated_at,
            row.status_updated_at,
            row.ended_at,
            row.lock_file.as_deref(),
            row.lock_pid,
            row.lock_started,
            row.lock_dev,
            row.lock_ino,
            row.lock_mtime_ns,
            row.lock_size,
            row.dir_dev,
            row.dir_ino,
            &identity.boot_id,
            identity.pid_ns,
            identity.identity_pid,
            identity.start_ticks,
            identity.pidfd_inode,
            row.lock_taken,
            row.lock_data.as_deref(),
            row.their_status,
            row.exit_status,
            writer,
            seq,
            row.id,
            row.was_run,
            row.was_status,
            &row.was_instance,
            row.was_updated,
        ],
    )
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::domain::migration::Key;
    use crate::domain::reconcile::{Rules, Scope, first_row};
    use crate::domain::{Here, Now};

    #[test]
    fn mysql_takes_each_field_by_its_place() {
        let rules = Rules {
            grace: Duration::ZERO,
            settle: Duration::ZERO,
            stall_after: None,
            scope: Scope::Local,
            here: Here::default(),
            instance: "a".to_owned(),
            sole: true,
            live: BTreeSet::new(),
        };
        let key = Key { mb_project_uuid: "u".to_owned(), brz_project_id: 1 };
        let migration = first_row(&key, &rules, Now::default());
        let row = Update::new(1, Basis::of(&migration), &migration);
        let Value::Object(fields) = serde_json::to_value(&row).unwrap() else { unreachable!() };
        let fields: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
        assert_eq!(dialect::numbered(dialect::update_migrations(Engine::MySql)), fields);
    }
}
