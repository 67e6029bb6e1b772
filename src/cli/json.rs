//! JSON for scripts, in the shapes of the HTTP answers.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::Timestamp;
use crate::domain::migration::Migration;
use crate::domain::verdict::State;
use crate::http;
use crate::monitor::{CheckedNode, Summary};
use crate::reconciler::migrations::Inspection;
use crate::snapshot::MigrationView;
use crate::store::{InstanceRow, StoredNode};

/// `GET /nodes/status?method=`.
pub(super) fn summary(summary: &Summary) -> Value {
    json!({
        "total": summary.total,
        "working": summary.working,
        "failed": summary.failed,
        "nodes": summary.nodes.iter().map(checked).collect::<Vec<_>>(),
    })
}

fn checked(it: &CheckedNode) -> Value {
    let outcome = &it.outcome;
    json!({
        "id": it.stored.node.id,
        "name": it.stored.node.name,
        "status": outcome.status,
        "message": outcome.finding.message,
        "state": outcome.state().as_str(),
        "reason": outcome.finding.reason.map(crate::domain::observation::Reason::as_str),
        "method": outcome.observation.method().as_str(),
        "last_check": outcome.at.wall,
        "since": it.since(),
        "latency_ms": outcome.latency_ms(),
        "live": true,
    })
}

/// `GET /nodes/{id}/status`.
pub(super) fn status(it: &CheckedNode) -> Value {
    json!({"status": it.outcome.status, "details": it.outcome.details})
}

/// `GET /nodes/{id}`: the registry's entry, without the password, and the recorded verdict.
pub(super) fn node(stored: &StoredNode) -> Value {
    value(&http::node_shape(&stored.node, &stored.verdict, recorded_state(stored)))
}

/// The state as recorded; how old it is only a running server can tell.
pub(super) fn recorded_state(stored: &StoredNode) -> State {
    if stored.node.available { stored.verdict.state } else { State::Disabled }
}

/// One of `GET /migrations`.
pub(super) fn migration(row: &Migration) -> Value {
    value(&http::migration_shape(&MigrationView::recorded(row.clone())))
}

fn value(shape: &impl Serialize) -> Value {
    serde_json::to_value(shape).unwrap_or_default()
}

/// What the lock said at the last write of the row.
pub(super) fn lock_data(row: &Migration) -> Map<String, Value> {
    row.lock_data
        .as_deref()
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .and_then(|value| if let Value::Object(map) = value { Some(map) } else { None })
        .unwrap_or_default()
}

/// One migration of `check --dry-run`.
pub(super) fn inspection(it: &Inspection) -> Value {
    let row = &it.view.row;
    let explain: Vec<_> = it.decision.explain.iter().cloned().map(http::predicate_shape).collect();
    json!({
        "mb_project_uuid": row.key.mb_project_uuid,
        "brz_project_id": row.key.brz_project_id,
        "lock_file_exists": it.view.lock_exists,
        "lock_file": it.lock.as_ref().map(|lock| lock.file.as_str()),
        "pid": row.lock_pid,
        "status": row.status.as_str(),
        "state": row.state.as_str(),
        "explain": value(&explain),
        "verdict": it.decision.outcome.as_str(),
        "would": it.decision.would(),
    })
}

/// `live`, or `lost` if its heartbeat stopped.
pub(super) fn instance_state(row: &InstanceRow, now: Timestamp) -> &'static str {
    if row.is_live(now.0) { "live" } else { "lost" }
}

/// A heartbeat.
pub(super) fn instance(row: &InstanceRow, now: Timestamp) -> Value {
    let time = |millis| Timestamp(millis);
    json!({
        "name": row.name,
        "state": instance_state(row, now),
        "host": row.host_id,
        "pid": row.pid,
        "version": row.version,
        "since": time(row.since),
        "last_beat": time(row.last_beat),
        "swept_at": row.swept_at.map(time),
        "nodes": row.nodes,
        "locks": row.locks,
        "tick_ms": row.tick_ms,
    })
}
