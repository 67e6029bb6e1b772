//! Which figures there are: from the snapshot and from what the loops keep to text. Names of nodes are in labels, words of
//! closed lists too; messages, PIDs, addresses and URLs never are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Exposition, Family, Format, Kind, Value};
use crate::domain::alert::Channel;
use crate::domain::migration::{self, Migration, Status};
use crate::domain::observation::Reason;
use crate::domain::verdict::State;
use crate::domain::{Now, Timestamp, Uptime};
use crate::gauges::{Gauges, Loop, Queue};
use crate::process::Usage;
use crate::snapshot::{MigrationView, NodeView, Snapshot};

/// What a node's samples take, about.
const ROOM_OF_NODE: usize = 320;

/// What all others take, about.
const ROOM: usize = 16 * 1024;

/// Words of whether the kernel tells of something.
pub const WATCHES: [&str; 3] = ["ok", "polling", "off"];

/// What the figures are made of.
#[derive(Debug)]
pub struct Facts {
    /// The last published truth.
    pub snapshot: Snapshot,
    /// What the loops keep.
    pub gauges: Gauges,
    /// This instance's name.
    pub here: String,
    /// All nodes and migrations, or those that this instance answers for.
    pub fleet: bool,
    /// Both clocks.
    pub now: Now,
    /// What this process takes, as far as it is known.
    pub usage: Option<Usage>,
    /// How often each loop begins its tick, in the order of [`Loop::ALL`]; none for one that does not run.
    pub intervals: [Option<Duration>; Loop::ALL.len()],
    /// What the kernel tells of, and one of [`WATCHES`].
    pub watches: Vec<(&'static str, &'static str)>,
    /// Where alerts are sent.
    pub channels: Vec<Channel>,
    /// The database failed when it was asked last.
    pub database_fails: bool,
}

const SECONDS: &str = "seconds";

const NODE_UP: Family = Family::gauge(
    "procwarden_node_up",
    "Whether the node works: 1, or 0 for down, unknown or stale. Nodes that are disabled have none.",
);
const NODE_STATE: Family =
    Family::gauge("procwarden_node_state", "1 for the state that the node is in, with the reason.");
const NODE_LATENCY: Family = Family::gauge(
    "procwarden_node_latency_seconds",
    "How long the node's last answer took. None if it gave none.",
)
.unit(SECONDS);
const NODE_CHECKED: Family = Family::gauge(
    "procwarden_node_last_check_timestamp_seconds",
    "When the node was looked at last, since the Unix epoch.",
)
.unit(SECONDS);
const NODES: Family = Family::gauge("procwarden_nodes", "Nodes by state.");
const MIGRATIONS: Family =
    Family::gauge("procwarden_migrations", "Migrations by status and state.");
const LOCKS: Family = Family::gauge("procwarden_locks", "Lock files of migrations that stand.");
const OLDEST_LOCK: Family = Family::gauge(
    "procwarden_oldest_lock_age_seconds",
    "Age of the oldest lock file that stands. 0 if none does.",
)
.unit(SECONDS);
const UNREADABLE: Family =
    Family::gauge("procwarden_locks_unreadable", "Lock files that cannot be judged.");
const LAST_ERROR: Family = Family::gauge(
    "procwarden_migration_last_error_timestamp_seconds",
    "When a migration turned to error last, since the Unix epoch. None if none did.",
)
.unit(SECONDS);
const INSTANCES: Family = Family::gauge(
    "procwarden_instances",
    "Instances that use this database, by whether their last heartbeat holds.",
);
const RECORD_FRESH: Family = Family::gauge(
    "procwarden_record_fresh",
    "Whether what is told of nodes and migrations is within its time.",
);
const LOOP_LAG: Family = Family::gauge(
    "procwarden_loop_lag_seconds",
    "How late the loop came to something that was due, at most, in the last one or two minutes.",
)
.unit(SECONDS);
const TICK: Family = Family::gauge(
    "procwarden_tick_duration_seconds",
    "How long the loop's last tick took: a pass over all nodes, a look at all migrations.",
)
.unit(SECONDS);
const INTERVAL: Family = Family::gauge(
    "procwarden_tick_interval_seconds",
    "How often the loop's tick is to begin, as configured.",
)
.unit(SECONDS);
const TICKS: Family =
    Family::gauge("procwarden_ticks", "Ticks that the loop ended.").kind(Kind::Counter);
const QUEUE: Family = Family::gauge("procwarden_queue_length", "How many are in it.");
const STORE_UP: Family =
    Family::gauge("procwarden_store_up", "Whether the database did what it was asked for last.");
const STORE_ERRORS: Family = Family::gauge(
    "procwarden_store_errors",
    "Times that the database failed at what a loop asked of it.",
)
.kind(Kind::Counter);
const EVENTS: Family = Family::gauge(
    "procwarden_events_source",
    "1 for how it is learned of: ok (the kernel tells), polling (by looking) or off (not watched).",
);
const ALERTS_PENDING: Family =
    Family::gauge("procwarden_alerts_pending", "Alerts of the whole fleet that wait to be sent.");
const ALERTS_OLDEST: Family = Family::gauge(
    "procwarden_alerts_oldest_timestamp_seconds",
    "When the oldest alert that waits was made, since the Unix epoch. None if none waits.",
)
.unit(SECONDS);
const ALERTS_SENT: Family =
    Family::gauge("procwarden_alerts_sent", "Alerts that this instance sent.").kind(Kind::Counter);
const ALERT_FAILURES: Family = Family::gauge(
    "procwarden_alert_failures",
    "Times that this instance could not send a message with alerts.",
)
.kind(Kind::Counter);
const BUILD: Family = Family::gauge("procwarden_build", "Which program this is.").kind(Kind::Info);
const STARTED: Family = Family::gauge(
    "process_start_time_seconds",
    "When this process began its work, since the Unix epoch.",
)
.unit(SECONDS);
const CPU: Family = Family::gauge("process_cpu_seconds", "Processor time of this process.")
    .kind(Kind::Counter)
    .unit(SECONDS);
const RESIDENT: Family =
    Family::gauge("process_resident_memory_bytes", "Memory of this process that is resident.")
        .unit("bytes");
const FDS: Family = Family::gauge("process_open_fds", "Descriptors that this process has.");
const MAX_FDS: Family = Family::gauge("process_max_fds", "Descriptors that it may have.");

/// All of it.
#[must_use]
pub fn collect(facts: &Facts, format: Format) -> String {
    let nodes = facts.snapshot.nodes.nodes.len();
    let mut text = Exposition::new(format, ROOM + nodes * ROOM_OF_NODE);
    of_nodes(facts, &mut text);
    of_migrations(facts, &mut text);
    of_record(facts, &mut text);
    of_loops(facts, &mut text);
    of_alerts(facts, &mut text);
    of_process(facts, &mut text);
    text.finish()
}

fn of_nodes(facts: &Facts, text: &mut Exposition) {
    let part = &facts.snapshot.nodes;
    let counts = |view: &&Arc<NodeView>| facts.fleet || view.is_mine();
    let views = || part.nodes.iter().filter(counts);
    let states: Vec<State> = views().map(|view| part.state_of(view, facts.now.up)).collect();
    let all = || views().zip(states.iter().copied());
    text.family(NODE_UP);
    for (view, state) in all().filter(|(_, state)| *state != State::Disabled) {
        text.sample(&[("node", &view.node.name)], state == State::Up);
    }
    text.family(NODE_STATE);
    for (view, state) in all() {
        let reason = view.reason().filter(|_| state != State::Disabled).map_or("", Reason::as_str);
        let labels =
            [("node", view.node.name.as_str()), ("state", state.as_str()), ("reason", reason)];
        text.sample(&labels, true);
    }
    text.family(NODE_LATENCY);
    for view in views() {
        if let Some(latency) = view.verdict.latency_ms {
            text.sample(&[("node", &view.node.name)], Value::Millis(latency.into()));
        }
    }
    text.family(NODE_CHECKED);
    for view in views() {
        if let Some(Timestamp(at)) = view.verdict.checked_at {
            text.sample(&[("node", &view.node.name)], Value::Millis(at));
        }
    }
    text.family(NODES);
    for state in [State::Up, State::Down, State::Unknown, State::Stale, State::Disabled] {
        let count = states.iter().filter(|it| **it == state).count();
        text.sample(&[("state", state.as_str())], count);
    }
}

fn of_migrations(facts: &Facts, text: &mut Exposition) {
    let (part, now) = (&facts.snapshot.migrations, facts.now.wall);
    let sole = facts.snapshot.fleet.sole;
    let counts =
        |view: &&Arc<MigrationView>| facts.fleet || sole || view.row.instance == facts.here;
    let views = || part.migrations.iter().filter(counts);
    let mut by_state = usual();
    for view in views() {
        *by_state.entry((view.row.status.as_str(), view.state().0.as_str())).or_default() += 1;
    }
    text.family(MIGRATIONS);
    for ((status, state), count) in by_state {
        text.sample(&[("status", status), ("state", state)], count);
    }
    let standing = || views().filter(|view| view.lock_exists);
    text.family(LOCKS).sample(&[], standing().count());
    let ages = standing().filter_map(|view| lock_age(&view.row, now));
    text.family(OLDEST_LOCK).sample(&[], Value::Millis(millis(ages.max().unwrap_or_default())));
    text.family(UNREADABLE).sample(&[], part.unreadable.len());
    text.family(LAST_ERROR);
    let errors = views().filter(|view| view.row.status == Status::Error);
    if let Some(at) = errors.filter_map(|view| view.row.status_updated_at).max() {
        text.sample(&[], Value::Millis(at.0));
    }
}

/// What is always told, so that a rule over it has something to read before the first of them: a status with each state
/// that it may have.
fn usual() -> BTreeMap<(&'static str, &'static str), u64> {
    let finished = migration::State::Finished;
    let states = |status: &Status| {
        let of = *status;
        migration::State::ALL
            .iter()
            .filter(move |state| match of {
                Status::Pending => **state == migration::State::Unknown,
                Status::InProgress => **state != finished,
                Status::Success | Status::Completed | Status::Error => **state == finished,
            })
            .map(move |state| ((of.as_str(), state.as_str()), 0))
    };
    Status::ALL.iter().flat_map(states).collect()
}

/// By what the row says of the lock, which is no older than the last change of its status, PID or run.
fn lock_age(row: &Migration, now: Timestamp) -> Option<Duration> {
    let started = row.lock_started.filter(|started| *started <= now);
    let written = || row.lock_mark.map(|mark| Timestamp(mark.mtime_ns / 1_000_000));
    started.or_else(written).map(|from| now.since(from))
}

fn of_record(facts: &Facts, text: &mut Exposition) {
    let (snapshot, now) = (&facts.snapshot, facts.now.up);
    let fleet = &snapshot.fleet;
    let live = fleet.instances.iter().filter(|it| fleet.is_live(&it.name)).count();
    text.family(INSTANCES)
        .sample(&[("state", "live")], live)
        .sample(&[("state", "lost")], fleet.instances.len() - live);
    let fresh = |valid_until: Uptime| now <= valid_until;
    text.family(RECORD_FRESH)
        .sample(&[("part", "nodes")], fresh(snapshot.nodes.valid_until))
        .sample(&[("part", "migrations")], fresh(snapshot.migrations.valid_until));
}

fn of_loops(facts: &Facts, text: &mut Exposition) {
    let gauges = &facts.gauges;
    let running = || {
        let all = Loop::ALL.into_iter().zip(facts.intervals);
        all.filter_map(|(it, interval)| Some((it, interval?)))
    };
    text.family(LOOP_LAG);
    for (it, _) in running() {
        let lag = i64::try_from(gauges.lag_ms(it, facts.now)).unwrap_or(i64::MAX);
        text.sample(&[("loop", it.as_str())], Value::Millis(lag));
    }
    text.family(TICK);
    for (it, _) in running() {
        let took = i64::try_from(gauges.tick_ms(it)).unwrap_or(i64::MAX);
        text.sample(&[("loop", it.as_str())], Value::Millis(took));
    }
    text.family(INTERVAL);
    for (it, interval) in running() {
        text.sample(&[("loop", it.as_str())], Value::Millis(millis(interval)));
    }
    text.family(TICKS);
    for (it, _) in running() {
        text.sample(&[("loop", it.as_str())], gauges.ticks(it));
    }
    text.family(QUEUE);
    for queue in Queue::ALL {
        text.sample(&[("queue", queue.as_str())], gauges.length(queue));
    }
    text.family(STORE_UP).sample(&[], !facts.database_fails);
    text.family(STORE_ERRORS).sample(&[], gauges.store_errors());
    text.family(EVENTS);
    for (source, seen) in &facts.watches {
        for word in WATCHES {
            text.sample(&[("source", source), ("state", word)], word == *seen);
        }
    }
}

/// Nothing where nobody is to be told.
fn of_alerts(facts: &Facts, text: &mut Exposition) {
    if facts.channels.is_empty() {
        return;
    }
    let all = || facts.channels.iter().map(|it| (it.as_str(), facts.gauges.alerts().of(*it)));
    text.family(ALERTS_PENDING);
    for (channel, sender) in all() {
        text.sample(&[("channel", channel)], sender.waiting().pending);
    }
    text.family(ALERTS_OLDEST);
    for (channel, sender) in all() {
        if let Some(Timestamp(at)) = sender.waiting().oldest {
            text.sample(&[("channel", channel)], Value::Millis(at));
        }
    }
    text.family(ALERTS_SENT);
    for (channel, sender) in all() {
        text.sample(&[("channel", channel)], sender.sent_total());
    }
    text.family(ALERT_FAILURES);
    for (channel, sender) in all() {
        text.sample(&[("channel", channel)], sender.failures_total());
    }
}

fn of_process(facts: &Facts, text: &mut Exposition) {
    let version = env!("CARGO_PKG_VERSION");
    text.family(BUILD).sample(&[("version", version)], true);
    text.family(STARTED).sample(&[], Value::Millis(facts.gauges.started().0));
    if let Some(usage) = facts.usage {
        text.family(CPU).sample(&[], Value::Millis(millis(usage.cpu)));
        text.family(RESIDENT).sample(&[], usage.resident);
        text.family(FDS).sample(&[], usage.descriptors);
        text.family(MAX_FDS).sample(&[], usage.descriptor_limit);
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
