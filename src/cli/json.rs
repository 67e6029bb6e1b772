//! JSON for scripts, in the shapes of the HTTP answers.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::others::Others;
use super::status_table::{Report, Seen};
use crate::domain::Timestamp;
use crate::domain::migration::Migration;
use crate::http;
use crate::monitor::CheckedNode;
use crate::reconciler::migrations::Inspection;
use crate::snapshot::{InstanceView, MigrationView};
use crate::store::{InstanceRow, StoredNode};

/// `GET /nodes/status?method=`.
pub(super) fn report(report: &Report, others: &Others) -> Value {
    json!({
        "total": report.seen.len(),
        "working": report.working,
        "failed": report.seen.len() - report.working,
        "nodes": report.seen.iter().map(|it| seen(it, others)).collect::<Vec<_>>(),
    })
}

fn seen(it: &Seen, others: &Others) -> Value {
    match it {
        Seen::Now(it) => checked(it),
        Seen::Record(view) => value(&http::node_row_shape(view, others.told(view))),
    }
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
pub(super) fn status(it: &Seen, others: &Others) -> Value {
    match it {
        Seen::Now(it) => json!({"status": it.outcome.status, "details": it.outcome.details}),
        Seen::Record(view) => value(&http::node_status_shape(&view.verdict, others.told(view))),
    }
}

/// `GET /nodes/{id}`: the registry's entry, without the password, and the recorded verdict.
pub(super) fn node(stored: &StoredNode, others: &Others) -> Value {
    let view = others.node(stored);
    value(&http::node_shape(&view.node, &view.verdict, others.told(&view)))
}

/// One of `GET /migrations`.
pub(super) fn migration(view: &MigrationView) -> Value {
    value(&http::migration_shape(view))
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
        "lock_file": it.lock.as_ref().map(|lock| &*lock.file),
        "pid": row.lock_pid,
        "status": row.status.as_str(),
        "state": it.view.state().0.as_str(),
        "explain": value(&explain),
        "verdict": it.decision.outcome.as_str(),
        "would": it.decision.would(),
    })
}

/// `live`, or `lost` if its heartbeat stopped.
pub(super) fn instance_state(row: &InstanceRow, now: Timestamp) -> &'static str {
    if row.is_live(now.0) { "live" } else { "lost" }
}

/// One of `GET /instances`.
pub(super) fn instance(row: &InstanceRow, now: Timestamp) -> Value {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let view = InstanceView {
        name: row.name.clone(),
        live: row.is_live(now.0),
        version: row.version.clone(),
        since: Timestamp(row.since),
        last_beat: Timestamp(row.last_beat),
        nodes: count(row.nodes),
        locks: count(row.locks),
        tick_ms: count(row.tick_ms),
        seq: row.seq,
    };
    value(&http::instance_shape(&view, view.live))
}
