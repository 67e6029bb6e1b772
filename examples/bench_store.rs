//! What `scripts/bench-database` measures through the library: how long the store takes to record what turned.
//!
//! `bench_store URL` reads commands, one a line, and answers each with one line:
//!
//! - `nodes COUNT flip|quiet` records as many verdicts, with an event each or without; milliseconds.
//! - `migrations COUNT` writes as many rows of migrations, with an event each; milliseconds.
//! - `sql nodes|migrations|events COUNT ROWS FILE` writes the statements that set the same columns of the same rows back,
//!   for the engine's own client: `ROWS` rows a statement, one transaction, the clock before and after it. `events` are
//!   those of the nodes and an event for each.
//!
//! Rows are those with the ids 1 to `COUNT`, and stand as the script made them: nodes are `up`, migrations in progress.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use procwarden::clock;
use procwarden::config::Settings;
use procwarden::domain::migration::{
    Key, Mark, Migration, Reason as Why, Source, State as Seen, Status,
};
use procwarden::domain::node::Password;
use procwarden::domain::observation::Reason;
use procwarden::domain::reconcile::{Basis, Write as RowWrite};
use procwarden::domain::verdict::{State, Verdict};
use procwarden::domain::{Identity, Method, Timestamp};
use procwarden::monitor::Monitor;
use procwarden::store::{Applied, Engine, Open, StoredMigration, VerdictWrite};

type Failure = Box<dyn Error>;

/// A verdict's message and data as a look by `full` leaves them.
const MESSAGE: &str =
    "Node is not running: the process is gone, its port is closed, the API does not answer";
const DATA: &str = r#"{"status":false,"message":"Node is not running","pid":{"status":false,"pid":4711,"reason":"process_gone"},"port":{"status":false,"port":18082,"reason":"port_closed"},"api":{"status":false,"url":"http://127.0.0.1:18082/json_rpc","reason":"port_closed"},"checked_at":"2025-06-01T12:00:00Z"}"#;
const LOCK: &str = r#"{"mb_project_uuid":"3c56530e-ca31-4a7c-964f-e69be01f382a","brz_project_id":23131991,"pid":4711,"started_at":"2025-06-01T12:00:00Z"}"#;
const UUID: &str = "3c56530e-ca31-4a7c-964f-e69be01f382a";
const HOST: &str = "4c4c4544004d3510805ac4c04f4e3332";

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("usage: bench_store URL")?;
    let mut settings = Settings::default();
    settings.database.url = Password::new(url);
    // A hundred thousand rows in one transaction are more than the service ever sends.
    settings.database.statement_timeout = std::time::Duration::from_mins(10);
    "bench".clone_into(&mut settings.instance.name);
    let monitor = Monitor::open(&settings, Open::Create).await?;
    monitor.lease().await?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["nodes", count, kind] => nodes(&monitor, count.parse()?, kind == "flip").await?,
            ["migrations", count] => migrations(&monitor, count.parse()?).await?,
            ["sql", table, count, rows, file] => {
                let sql = Sql::new(monitor.store().engine(), rows.parse()?);
                std::fs::write(file, sql.of(table, count.parse()?)?)?;
                "ok".to_owned()
            }
            _ => return Err(format!("not understood: {line}").into()),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    monitor.close().await;
    Ok(())
}

fn identity() -> Identity {
    Identity {
        boot_id: "0b3a1c5e-7d1f-4a57-9a0e-3f1f6f0e9b11".to_owned(),
        pid_ns: 4_026_531_836,
        pid: 4711,
        start_ticks: Some(123_456_789),
        inode: Some(987_654),
    }
}

async fn nodes(monitor: &Monitor, count: i64, flip: bool) -> Result<String, Failure> {
    let now = clock::now().wall;
    let verdict = Verdict {
        state: if flip { State::Down } else { State::Up },
        reason: Some(Reason::ProcessGone),
        message: MESSAGE.to_owned(),
        method: Some(Method::Full),
        data: Some(DATA.to_owned()),
        checked_at: Some(now),
        checked_up: None,
        since: Some(now),
        latency_ms: Some(12),
        identity: Some(identity()),
        streak: 1,
        busy_since: None,
    };
    let write = |id| VerdictWrite {
        id,
        name: format!("node-{id}"),
        version: 1,
        owner_epoch: 0,
        was: State::Up,
        host_id: HOST.to_owned(),
        verdict: verdict.clone(),
        flip,
    };
    let writes: Vec<VerdictWrite> = (1..=count).map(write).collect();
    let lease = monitor.lease().await?;
    let began = Instant::now();
    let left = monitor.store().record_verdicts(lease, &writes, now).await?;
    let took = began.elapsed();
    if left.is_empty() { Ok(ms(took)) } else { Err(format!("{} left alone", left.len()).into()) }
}

async fn migrations(monitor: &Monitor, count: i64) -> Result<String, Failure> {
    let now = clock::now().wall;
    let rows = monitor.store().migrations().await?;
    let rows = rows.into_iter().filter(|stored| stored.id <= count);
    let write = |stored: StoredMigration| {
        let row = Box::new(migration(stored.id, now));
        (Some(stored.id), RowWrite::Update { basis: Basis::of(&stored.row), row, flip: true })
    };
    let writes: Vec<(Option<i64>, RowWrite)> = rows.map(write).collect();
    let lease = monitor.lease().await?;
    let began = Instant::now();
    let applied = monitor.store().apply(lease, &writes, now).await?;
    let took = began.elapsed();
    let lost = applied.iter().filter(|it| matches!(it, Applied::Lost)).count();
    if lost == 0 { Ok(ms(took)) } else { Err(format!("{lost} lost").into()) }
}

fn migration(id: i64, now: Timestamp) -> Migration {
    Migration {
        key: Key { mb_project_uuid: UUID.to_owned(), brz_project_id: id },
        instance: "bench".to_owned(),
        host_id: HOST.to_owned(),
        status: Status::Error,
        state: Seen::Finished,
        reason: Some(Why::ProcessGone),
        status_source: Some(Source::Monitor),
        error: Some("Process 4711 is gone".to_owned()),
        run: 1,
        since: now,
        created_at: now,
        updated_at: now,
        status_updated_at: Some(now),
        ended_at: Some(now),
        lock_file: Some(format!("{UUID}-{id}.lock")),
        lock_pid: Some(4711),
        lock_started: Some(now),
        lock_mark: Some(Mark {
            dev: 66,
            ino: 1_234_567,
            mtime_ns: 1_717_243_200_000_000_000,
            size: 140,
        }),
        dir: None,
        identity: Some(identity()),
        lock_taken: true,
        their_status: None,
        exit: None,
        lock_data: Some(LOCK.into()),
    }
}

fn ms(took: std::time::Duration) -> String {
    format!("{:.1}", took.as_secs_f64() * 1000.0)
}

/// A value in the text of a statement.
enum Value {
    Int(i64),
    Text(&'static str),
    Null(&'static str),
}

/// The bare side: one `UPDATE` for so many rows, as the engine's own client reads it from a file.
struct Sql {
    engine: Engine,
    rows: i64,
}

impl Sql {
    const fn new(engine: Engine, rows: i64) -> Self {
        Self { engine, rows }
    }

    fn of(&self, table: &str, count: i64) -> Result<String, Failure> {
        let now = clock::now().wall.0;
        let columns = match table {
            "nodes" | "events" => node_columns(now),
            "migrations" => migration_columns(now),
            _ => return Err(format!("no table {table}").into()),
        };
        let (clock, begin) = match self.engine {
            Engine::Sqlite => {
                ("SELECT (julianday('now') - 2440587.5) * 86400000.0;", "BEGIN IMMEDIATE;")
            }
            Engine::Postgres => ("SELECT EXTRACT(EPOCH FROM clock_timestamp()) * 1000;", "BEGIN;"),
            Engine::MySql => (
                "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', SYSDATE(6)) / 1000;",
                "START TRANSACTION;",
            ),
        };
        let mut sql = String::new();
        if table == "events" {
            writeln!(sql, "DELETE FROM procwarden_events WHERE instance = 'bare';")?;
        }
        write!(sql, "{clock}\n{begin}\n")?;
        for first in (1..=count).step_by(usize::try_from(self.rows)?) {
            let last = (first + self.rows - 1).min(count);
            let rows = if table == "events" { "nodes" } else { table };
            self.statement(&mut sql, rows, &columns, first..=last)?;
            if table == "events" {
                events(&mut sql, now, first..=last)?;
            }
        }
        write!(sql, "COMMIT;\n{clock}\n")?;
        Ok(sql)
    }

    fn statement(
        &self,
        sql: &mut String,
        table: &str,
        columns: &[(&'static str, Value)],
        ids: std::ops::RangeInclusive<i64>,
    ) -> Result<(), Failure> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let set = |t: &str| {
            let sets: Vec<String> =
                columns.iter().map(|(name, _)| format!("{t}{name} = v.{name}")).collect();
            sets.join(", ")
        };
        let table = format!("procwarden_{table}");
        match self.engine {
            Engine::Sqlite => write!(sql, "WITH v(id, {names}) AS (VALUES ")?,
            Engine::Postgres => write!(sql, "UPDATE {table} SET {} FROM (VALUES ", set(""))?,
            Engine::MySql => {
                write!(sql, "UPDATE {table} AS n JOIN (WITH v(id, {names}) AS (VALUES ")?;
            }
        }
        for (at, id) in ids.enumerate() {
            if at > 0 {
                sql.push(',');
            }
            write!(sql, "({id}")?;
            for (_, value) in columns {
                match value {
                    Value::Int(value) => write!(sql, ",{value}")?,
                    Value::Text(text) => write!(sql, ",'{text}'")?,
                    // The type of a column is that of its first value.
                    Value::Null(kind) if self.engine == Engine::Postgres && at == 0 => {
                        write!(sql, ",NULL::{kind}")?;
                    }
                    Value::Null(_) => sql.push_str(",NULL"),
                }
            }
            sql.push(')');
        }
        match self.engine {
            Engine::Sqlite => {
                writeln!(sql, ") UPDATE {table} SET {} FROM v WHERE {table}.id = v.id;", set(""))?;
            }
            Engine::Postgres => {
                writeln!(sql, ") AS v(id, {names}) WHERE {table}.id = v.id;")?;
            }
            Engine::MySql => {
                writeln!(sql, ") SELECT * FROM v) AS v ON n.id = v.id SET {};", set("n."))?;
            }
        }
        Ok(())
    }
}

/// An event for each of these nodes, as the bare side inserts them.
fn events(
    sql: &mut String,
    now: i64,
    ids: std::ops::RangeInclusive<i64>,
) -> Result<(), std::fmt::Error> {
    write!(
        sql,
        "INSERT INTO procwarden_events (instance, seq, at, kind, subject_id, name, state, reason, was_state) VALUES "
    )?;
    for (at, id) in ids.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(
            sql,
            "{comma}('bare',{id},{now},'node',{id},'node-{id}','up','process_running','down')"
        )?;
    }
    writeln!(sql, ";")
}

fn node_columns(now: i64) -> Vec<(&'static str, Value)> {
    use Value::{Int, Text};
    vec![
        ("state", Text("up")),
        ("reason", Text("process_running")),
        ("message", Text(MESSAGE)),
        ("method", Text("full")),
        ("worked", Int(1)),
        ("worked_data", Text(DATA)),
        ("checked_at", Int(now)),
        ("since", Int(now)),
        ("latency_ms", Int(12)),
        ("streak", Int(0)),
        ("host_id", Text(HOST)),
        ("boot_id", Text("0b3a1c5e-7d1f-4a57-9a0e-3f1f6f0e9b11")),
        ("pid_ns", Int(4_026_531_836)),
        ("identity_pid", Int(4712)),
        ("start_ticks", Int(123_456_789)),
        ("pidfd_inode", Int(987_654)),
        ("writer", Text("other")),
        ("change_seq", Int(now)),
    ]
}

fn migration_columns(now: i64) -> Vec<(&'static str, Value)> {
    use Value::{Int, Null, Text};
    vec![
        ("instance", Text("bench")),
        ("host_id", Text(HOST)),
        ("status", Text("in_progress")),
        ("state", Text("alive")),
        ("reason", Null("text")),
        ("status_source", Text("monitor")),
        ("error", Text("Process 4711 is gone")),
        ("run", Int(1)),
        ("since", Int(now)),
        ("updated_at", Int(now)),
        ("status_updated_at", Int(now)),
        ("ended_at", Null("bigint")),
        ("lock_file", Text("3c56530e-ca31-4a7c-964f-e69be01f382a-23131991.lock")),
        ("lock_pid", Int(4711)),
        ("lock_started", Int(now)),
        ("lock_dev", Int(66)),
        ("lock_ino", Int(1_234_567)),
        ("lock_mtime_ns", Int(1_717_243_200_000_000_000)),
        ("lock_size", Int(140)),
        ("dir_dev", Null("bigint")),
        ("dir_ino", Null("bigint")),
        ("boot_id", Text("0b3a1c5e-7d1f-4a57-9a0e-3f1f6f0e9b11")),
        ("pid_ns", Int(4_026_531_836)),
        ("identity_pid", Int(4712)),
        ("start_ticks", Int(123_456_789)),
        ("pidfd_inode", Int(987_654)),
        ("lock_taken", Int(0)),
        ("lock_data", Text(LOCK)),
        ("writer", Text("other")),
        ("change_seq", Int(now)),
    ]
}
