//! How verdicts are recorded, in the words of each engine.

use super::Engine;
use super::dialect::Text;

/// The columns of a verdict, as they are set from the row `v` of a batch.
macro_rules! verdict_sets {
    ($t:literal) => {
        concat!(
            $t,
            "state = v.state, ",
            $t,
            "reason = v.reason, ",
            $t,
            "message = v.message, ",
            $t,
            "method = v.method, ",
            $t,
            "worked = v.worked, ",
            $t,
            "worked_data = v.worked_data, ",
            $t,
            "checked_at = v.checked_at, ",
            $t,
            "since = v.since, ",
            $t,
            "latency_ms = v.latency_ms, ",
            $t,
            "streak = v.streak, ",
            $t,
            "host_id = v.host_id, ",
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
            "writer = ?, ",
            $t,
            "change_seq = ? "
        )
    };
}

/// SQLite's statement before, in and after the values of its rows.
macro_rules! row_names {
    () => {
        "WITH v(id, version, epoch, was, state, reason, method, worked, checked_at, since, latency_ms, streak, \
         host_id, boot_id, pid_ns, identity_pid, start_ticks, pidfd_inode, message, worked_data) AS (VALUES "
    };
}
macro_rules! row {
    () => {
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
    };
}
macro_rules! row_sets {
    () => {
        concat!(
            ") UPDATE procwarden_nodes SET ",
            verdict_sets!(""),
            "FROM v WHERE procwarden_nodes.id = v.id AND procwarden_nodes.version = v.version \
             AND procwarden_nodes.owner_epoch = v.epoch AND procwarden_nodes.state = v.was"
        )
    };
}

/// Records verdicts. On a server a batch of them: writer, sequence, the batch as a JSON array (on MySQL the batch
/// first). On SQLite one, see [`record_together`].
/// A row is changed only if it still has the version, the owner's epoch and the state that the verdict was made from.
pub(super) const fn record(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => concat!(row_names!(), "(", row!(), ")", row_sets!()),
        Engine::Postgres => concat!(
            "UPDATE procwarden_nodes SET ",
            verdict_sets!(""),
            "FROM json_to_recordset(CAST(? AS json)) AS v(id bigint, version bigint, epoch bigint, was text, \
             state text, reason text, message text, method text, worked bigint, worked_data text, checked_at bigint, \
             since bigint, latency_ms bigint, streak bigint, host_id text, boot_id text, pid_ns bigint, \
             identity_pid bigint, start_ticks bigint, pidfd_inode bigint) \
             WHERE procwarden_nodes.id = v.id AND procwarden_nodes.version = v.version \
             AND procwarden_nodes.owner_epoch = v.epoch AND procwarden_nodes.state = v.was"
        ),
        Engine::MySql => concat!(
            "UPDATE procwarden_nodes AS n JOIN JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$[0]', \
             version BIGINT PATH '$[1]', epoch BIGINT PATH '$[2]', was VARCHAR(16) PATH '$[3]', \
             state VARCHAR(16) PATH '$[4]', reason VARCHAR(32) PATH '$[5]', \
             method VARCHAR(16) PATH '$[6]', worked BIGINT PATH '$[7]', \
             checked_at BIGINT PATH '$[8]', since BIGINT PATH '$[9]', latency_ms BIGINT PATH '$[10]', \
             streak BIGINT PATH '$[11]', host_id VARCHAR(128) PATH '$[12]', \
             boot_id VARCHAR(64) PATH '$[13]', pid_ns BIGINT PATH '$[14]', \
             identity_pid BIGINT PATH '$[15]', start_ticks BIGINT PATH '$[16]', \
             pidfd_inode BIGINT PATH '$[17]', message MEDIUMTEXT PATH '$[18]', \
             worked_data MEDIUMTEXT PATH '$[19]')) AS v \
             ON n.id = v.id AND n.version = v.version AND n.owner_epoch = v.epoch AND n.state = v.was SET ",
            verdict_sets!("n.")
        ),
    }
}

/// Records so many verdicts on SQLite: the fields of each `VerdictRow` in their order, then writer and sequence.
pub(super) fn record_together(rows: usize) -> Text {
    let values = vec![concat!("(", row!(), ")"); rows].join(", ");
    Text::Named([row_names!(), &values, row_sets!()].concat().into())
}
