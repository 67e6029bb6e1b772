//! Where the three engines differ. Every other statement of the store is the same text on all of them.
//!
//! A batch is a JSON array ([`batch`](super::batch)), of objects for PostgreSQL, of arrays in the order of the columns for
//! MySQL: MariaDB looks for each column from the start of its row, and finds a number faster than a name. For the same
//! reason what is long stands last in a row.
//!
//! In the text of a statement `?` is an argument, `NOW_MS()` the engine's clock, `FROM_DUAL` what a `SELECT` without a
//! table needs before `WHERE`. There is no literal question mark in any statement.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::config::Engine;

/// Epoch milliseconds by the engine's clock.
const fn now_ms(engine: Engine) -> &'static str {
    match engine {
        // `unixepoch('subsec')` is 3.42 and later; the bundled one is newer.
        Engine::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        // Not the transaction's start: leases are taken at the moment of the statement.
        Engine::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        Engine::MySql => {
            "CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS SIGNED)"
        }
    }
}

/// The text of a statement.
#[derive(Debug, Clone)]
pub(super) enum Text {
    /// One of the crate's own.
    Own(&'static str),
    /// One that was put together: about tables that the configuration names, by [`named`], or for so many rows.
    Named(Arc<str>),
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Own(text)
    }
}

impl From<&Self> for Text {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

/// A statement about tables that the configuration names, as the engine reads it. Every name in it is quoted.
pub(super) fn named(engine: Engine, text: &str) -> Text {
    Text::Named(spelled(engine, text).into())
}

/// The statement as the engine reads it.
pub(super) fn sql(engine: Engine, text: Text) -> SqlStr {
    match text {
        Text::Own(text) => match spelled(engine, text) {
            Cow::Borrowed(text) => text.into_sql_str(),
            // Made of the crate's own texts alone.
            Cow::Owned(text) => AssertSqlSafe(text).into_sql_str(),
        },
        // Values are arguments in it too, and the names are quoted.
        Text::Named(text) => AssertSqlSafe(text).into_sql_str(),
    }
}

fn spelled(engine: Engine, text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if text.contains("NOW_MS()") {
        text = Cow::Owned(text.replace("NOW_MS()", now_ms(engine)));
    }
    if text.contains("FROM_DUAL") {
        let dual = if engine == Engine::MySql { "FROM DUAL" } else { "" };
        text = Cow::Owned(text.replace("FROM_DUAL", dual));
    }
    if engine == Engine::MySql && text.contains("JSON_TABLE") {
        // Without it a column has the character set of the database, which may have no place for most of the world's
        // names; our tables have their own.
        let text = text.replace(") PATH", ") CHARACTER SET utf8mb4 PATH");
        return Cow::Owned(text.replace("TEXT PATH", "TEXT CHARACTER SET utf8mb4 PATH"));
    }
    if engine != Engine::Postgres || !text.contains('?') {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for (at, part) in text.split('?').enumerate() {
        if at > 0 {
            out.push('$');
            out.push_str(&at.to_string());
        }
        out.push_str(part);
    }
    Cow::Owned(out)
}

/// Text as every engine stores it: PostgreSQL has no NUL in text (its manual, 8.3), so nobody gets one.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Begins a transaction that writes. On SQLite a read that turns into a write would get BUSY at once.
pub(super) const fn begin(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "BEGIN IMMEDIATE",
        Engine::Postgres => "BEGIN",
        Engine::MySql => "START TRANSACTION",
    }
}

/// How many tables of our bookkeeping's name there are: none before the first migration.
pub(super) const fn schema_tables(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'procwarden_schema'"
        }
        Engine::Postgres => {
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = current_schema() AND table_name = 'procwarden_schema'"
        }
        Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 'procwarden_schema'"
        }
    }
}

/// The columns of a migration, as they are set from the row `v` of a batch.
macro_rules! migration_sets {
    ($t:literal) => {
        concat!(
            $t,
            "instance = v.instance, ",
            $t,
            "host_id = v.host_id, ",
            $t,
            "status = v.status, ",
            $t,
            "state = v.state, ",
            $t,
            "reason = v.reason, ",
            $t,
            "status_source = v.status_source, ",
            $t,
            "error = v.error, ",
            $t,
            "run = v.run, ",
            $t,
            "since = v.since, ",
            $t,
            "updated_at = v.updated_at, ",
            $t,
            "status_updated_at = v.status_updated_at, ",
            $t,
            "ended_at = v.ended_at, ",
            $t,
            "lock_file = v.lock_file, ",
            $t,
            "lock_pid = v.lock_pid, ",
            $t,
            "lock_started = v.lock_started, ",
            $t,
            "lock_dev = v.lock_dev, ",
            $t,
            "lock_ino = v.lock_ino, ",
            $t,
            "lock_mtime_ns = v.lock_mtime_ns, ",
            $t,
            "lock_size = v.lock_size, ",
            $t,
            "dir_dev = v.dir_dev, ",
            $t,
            "dir_ino = v.dir_ino, ",
            $t,
            "boot_id = v.boot_id, ",
            $t,
            "pid_ns = v.pid_ns, ",
            $t,
            "identity_pid = v.identity_pid, ",
            $t,
            "start_ticks = v.start_ticks, ",
            $t,
            "pidfd_inode = v.pidfd_inode, ",
            $t,
            "lock_taken = v.lock_taken, ",
            $t,
            "lock_data = v.lock_data, ",
            $t,
            "their_status = v.their_status, ",
            $t,
            "exit_status = v.exit_status, ",
            $t,
            "writer = ?, ",
            $t,
            "change_seq = ? "
        )
    };
}

/// Writes migrations, with the arguments of [`verdict_statements::record`](super::verdict_statements::record); on SQLite last what must stand in the row.
/// A row is changed only if nobody wrote it since it was judged.
pub(super) const fn update_migrations(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "UPDATE procwarden_migrations SET instance = ?, host_id = ?, status = ?, state = ?, reason = ?, \
             status_source = ?, error = ?, run = ?, since = ?, updated_at = ?, status_updated_at = ?, ended_at = ?, \
             lock_file = ?, lock_pid = ?, lock_started = ?, lock_dev = ?, lock_ino = ?, lock_mtime_ns = ?, \
             lock_size = ?, dir_dev = ?, dir_ino = ?, boot_id = ?, pid_ns = ?, identity_pid = ?, start_ticks = ?, \
             pidfd_inode = ?, lock_taken = ?, lock_data = ?, their_status = ?, exit_status = ?, writer = ?, change_seq = ? \
             WHERE id = ? AND run = ? AND status = ? AND instance = ? AND updated_at = ?"
        }
        Engine::Postgres => concat!(
            "UPDATE procwarden_migrations SET ",
            migration_sets!(""),
            "FROM json_to_recordset(CAST(? AS json)) AS v(id bigint, was_run bigint, was_status text, \
             was_instance text, was_updated bigint, instance text, host_id text, status text, state text, reason text, \
             status_source text, error text, run bigint, since bigint, updated_at bigint, status_updated_at bigint, \
             ended_at bigint, lock_file text, lock_pid bigint, lock_started bigint, lock_dev bigint, lock_ino bigint, \
             lock_mtime_ns bigint, lock_size bigint, dir_dev bigint, dir_ino bigint, boot_id text, pid_ns bigint, \
             identity_pid bigint, start_ticks bigint, pidfd_inode bigint, lock_taken bigint, lock_data text, their_status text, \
             exit_status bigint) \
             WHERE procwarden_migrations.id = v.id AND procwarden_migrations.run = v.was_run \
             AND procwarden_migrations.status = v.was_status AND procwarden_migrations.instance = v.was_instance \
             AND procwarden_migrations.updated_at = v.was_updated"
        ),
        Engine::MySql => concat!(
            "UPDATE procwarden_migrations AS m JOIN JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$[0]', \
             was_run BIGINT PATH '$[1]', was_status VARCHAR(16) PATH '$[2]', \
             was_instance VARCHAR(128) PATH '$[3]', was_updated BIGINT PATH '$[4]', \
             instance VARCHAR(128) PATH '$[5]', status VARCHAR(16) PATH '$[6]', \
             state VARCHAR(16) PATH '$[7]', reason VARCHAR(32) PATH '$[8]', \
             status_source VARCHAR(32) PATH '$[9]', run BIGINT PATH '$[10]', since BIGINT PATH '$[11]', \
             updated_at BIGINT PATH '$[12]', status_updated_at BIGINT PATH '$[13]', \
             ended_at BIGINT PATH '$[14]', lock_pid BIGINT PATH '$[15]', lock_started BIGINT PATH '$[16]', \
             lock_dev BIGINT PATH '$[17]', lock_ino BIGINT PATH '$[18]', lock_mtime_ns BIGINT PATH '$[19]', \
             lock_size BIGINT PATH '$[20]', dir_dev BIGINT PATH '$[21]', dir_ino BIGINT PATH '$[22]', \
             boot_id VARCHAR(64) PATH '$[23]', pid_ns BIGINT PATH '$[24]', \
             identity_pid BIGINT PATH '$[25]', start_ticks BIGINT PATH '$[26]', \
             pidfd_inode BIGINT PATH '$[27]', lock_taken BIGINT PATH '$[28]', \
             their_status VARCHAR(32) PATH '$[29]', exit_status BIGINT PATH '$[30]', \
             host_id VARCHAR(128) PATH '$[31]', error MEDIUMTEXT PATH '$[32]', \
             lock_file VARCHAR(255) PATH '$[33]', lock_data MEDIUMTEXT PATH '$[34]')) AS v \
             ON m.id = v.id AND m.run = v.was_run AND m.status = v.was_status AND m.instance = v.was_instance \
             AND m.updated_at = v.was_updated SET ",
            migration_sets!("m.")
        ),
    }
}

/// Takes nodes over: owner, writer, sequence, the batch as a JSON array of id and epoch (on MySQL the batch first).
pub(super) const fn claim(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "UPDATE procwarden_nodes SET owner = ?, writer = ?, change_seq = ?, owner_epoch = owner_epoch + 1 \
             FROM (SELECT value ->> 'id' AS id, value ->> 'epoch' AS epoch FROM json_each(?)) AS v \
             WHERE procwarden_nodes.id = v.id AND procwarden_nodes.owner_epoch = v.epoch"
        }
        Engine::Postgres => {
            "UPDATE procwarden_nodes SET owner = ?, writer = ?, change_seq = ?, owner_epoch = owner_epoch + 1 \
             FROM json_to_recordset(CAST(? AS json)) AS v(id bigint, epoch bigint) \
             WHERE procwarden_nodes.id = v.id AND procwarden_nodes.owner_epoch = v.epoch"
        }
        Engine::MySql => {
            "UPDATE procwarden_nodes AS n JOIN JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$[0]', \
             epoch BIGINT PATH '$[1]')) AS v ON n.id = v.id AND n.owner_epoch = v.epoch \
             SET n.owner = ?, n.writer = ?, n.change_seq = ?, n.owner_epoch = n.owner_epoch + 1"
        }
    }
}

/// Moves the next id past one that was given: one argument, the id. Gives the last id used. None where the engine does
/// so by itself (`AUTOINCREMENT`, `AUTO_INCREMENT`).
pub(super) const fn move_past(engine: Engine) -> Option<&'static str> {
    match engine {
        // `nextval` as well: never back.
        Engine::Postgres => Some(
            "SELECT setval(pg_get_serial_sequence('procwarden_nodes', 'id'), \
             GREATEST(CAST(? AS bigint), nextval(pg_get_serial_sequence('procwarden_nodes', 'id'))))",
        ),
        Engine::Sqlite | Engine::MySql => None,
    }
}

/// Inserts a batch of events: instance, time, the batch as a JSON array.
pub(super) const fn insert_events(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "INSERT INTO procwarden_events (instance, seq, at, kind, subject_id, name, state, reason, status, run, exit_status, \
             was_state) \
             SELECT ?, value ->> 'seq', ?, value ->> 'kind', value ->> 'id', value ->> 'name', value ->> 'state', \
             value ->> 'reason', value ->> 'status', value ->> 'run', value ->> 'exit_status', value ->> 'was_state' FROM json_each(?)"
        }
        Engine::Postgres => {
            "INSERT INTO procwarden_events (instance, seq, at, kind, subject_id, name, state, reason, status, run, exit_status, \
             was_state) \
             SELECT ?, v.seq, ?, v.kind, v.id, v.name, v.state, v.reason, v.status, v.run, v.exit_status, v.was_state \
             FROM json_to_recordset(CAST(? AS json)) AS v(seq bigint, kind text, id bigint, name text, state text, \
             reason text, status text, run bigint, exit_status bigint, was_state text)"
        }
        Engine::MySql => {
            "INSERT INTO procwarden_events (instance, seq, at, kind, subject_id, name, state, reason, status, run, exit_status, \
             was_state) \
             SELECT ?, v.seq, ?, v.kind, v.id, v.name, v.state, v.reason, v.status, v.run, v.exit_status, v.was_state \
             FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$[0]', kind VARCHAR(16) PATH '$[1]', \
             id BIGINT PATH '$[2]', name VARCHAR(128) PATH '$[3]', state VARCHAR(16) PATH '$[4]', \
             reason VARCHAR(32) PATH '$[5]', status VARCHAR(16) PATH '$[6]', run BIGINT PATH '$[7]', \
             exit_status BIGINT PATH '$[8]', was_state VARCHAR(16) PATH '$[9]')) AS v"
        }
    }
}

/// What waits in the outbox for a channel: how many alerts, since when, how often the most tried was tried, and whether
/// something is due. The sum of whole numbers is a decimal on the servers.
pub(super) const fn outbox_state(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite | Engine::Postgres => {
            "SELECT CAST(COALESCE(SUM(alerts), 0) AS BIGINT) AS pending, MIN(created_at) AS oldest, \
             COALESCE(MAX(attempts), 0) AS attempts, MIN(next_at) AS next_at, NOW_MS() AS now \
             FROM procwarden_outbox WHERE channel = ?"
        }
        Engine::MySql => {
            "SELECT CAST(COALESCE(SUM(alerts), 0) AS SIGNED) AS pending, MIN(created_at) AS oldest, \
             COALESCE(MAX(attempts), 0) AS attempts, MIN(next_at) AS next_at, NOW_MS() AS now \
             FROM procwarden_outbox WHERE channel = ?"
        }
    }
}

/// The columns that a statement of MySQL takes from the fields of a row, by their numbers.
#[cfg(test)]
pub(super) fn numbered(statement: &str) -> Vec<String> {
    let columns = statement.split_once("COLUMNS (").unwrap().1;
    let columns = columns.split_once("')) AS v").unwrap().0.split("', ");
    let names = columns.enumerate().map(|(at, column)| {
        assert!(column.trim_end_matches('\'').ends_with(&format!(" PATH '$[{at}]")), "{column}");
        column.split(' ').next().unwrap().to_owned()
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_are_numbered_for_postgresql_alone() {
        let text = "UPDATE t SET a = ?, b = NOW_MS() WHERE c = ?";
        let postgres = spelled(Engine::Postgres, text);
        assert!(postgres.starts_with("UPDATE t SET a = $1, b = CAST("), "{postgres}");
        assert!(postgres.ends_with(" WHERE c = $2"), "{postgres}");
        assert!(spelled(Engine::MySql, text).ends_with(" WHERE c = ?"));
        assert_eq!(spelled(Engine::Sqlite, "SELECT 1 FROM_DUAL"), "SELECT 1 ");
        assert_eq!(spelled(Engine::MySql, "SELECT 1 FROM_DUAL"), "SELECT 1 FROM DUAL");
    }

    #[test]
    fn no_engine_gets_a_nul() {
        assert_eq!(storable("a\0b"), "a\u{FFFD}b");
        assert!(matches!(storable("ab"), Cow::Borrowed("ab")));
    }
}
