//! JSON for scripts, in the shapes of the HTTP answers.

use serde_json::{Map, Value, json};

use crate::domain::migration::{Migration, Source};
use crate::domain::reconcile::{Decision, Outcome, Predicate};
use crate::domain::verdict::State;
use crate::monitor::{CheckedNode, Summary};
use crate::reconciler::migrations::Inspection;
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
    let (node, verdict) = (&stored.node, &stored.verdict);
    let state = recorded_state(stored);
    let data = verdict.data.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "id": node.id,
        "name": node.name,
        "title": node.title,
        "host": node.host,
        "port": node.port,
        "tls": node.tls,
        "username": node.username,
        "has_password": node.password.is_some(),
        "daemon": node.daemon,
        "pid": node.pid,
        "pid_file": node.pid_file,
        "process_name": node.process_name,
        "available": node.available,
        "instance": node.instance,
        "state": state.as_str(),
        "reason": verdict.reason.map(crate::domain::observation::Reason::as_str),
        "message": verdict.message,
        "worked": state == State::Up,
        "worked_data": data,
        "checked_at": verdict.checked_at,
        "since": verdict.since,
        "latency_ms": verdict.latency_ms,
        "observed_pid": node.identity.as_ref().map(|identity| identity.pid),
    })
}

/// The state as recorded; how old it is only a running server can tell.
pub(super) fn recorded_state(stored: &StoredNode) -> State {
    if stored.node.available { stored.verdict.state } else { State::Disabled }
}

/// One of `GET /migrations`.
pub(super) fn migration(row: &Migration) -> Value {
    let lock = lock_data(row);
    let from_lock = |key: &str| lock.get(key).cloned().unwrap_or(Value::Null);
    json!({
        "id": row.key.brz_project_id,
        "mb_project_uuid": row.key.mb_project_uuid,
        "brz_project_id": row.key.brz_project_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "status": row.status.as_str(),
        "changes_json": changes(row),
        "result": null,
        "state": row.state.as_str(),
        "reason": row.reason.map(crate::domain::migration::Reason::as_str),
        "since": row.since,
        "run": row.run,
        "pid": row.lock_pid,
        "instance": row.instance,
        "current_stage": from_lock("current_stage"),
        "total_pages": from_lock("total_pages"),
        "processed_pages": from_lock("processed_pages"),
        "progress_percent": from_lock("progress_percent"),
    })
}

fn changes(row: &Migration) -> Value {
    let mut map = Map::new();
    map.insert("status".into(), row.status.as_str().into());
    if let Some(error) = &row.error {
        map.insert("error".into(), error.clone().into());
    }
    if let Some(at) = row.status_updated_at {
        map.insert("status_updated_at".into(), at.rfc3339().into());
    }
    if row.status_source == Some(Source::Monitor) {
        map.insert("monitor_updated".into(), true.into());
    }
    Value::Object(map)
}

/// What the lock said at the last write of the row.
pub(super) fn lock_data(row: &Migration) -> Map<String, Value> {
    row.lock_data
        .as_deref()
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .and_then(|value| if let Value::Object(map) = value { Some(map) } else { None })
        .unwrap_or_default()
}

/// What the monitor would do.
pub(super) fn would(decision: &Decision) -> Vec<&'static str> {
    let mut words = Vec::new();
    match decision.outcome {
        Outcome::Error => words.push("set_error"),
        Outcome::Completed => words.push("set_completed"),
        Outcome::None | Outcome::Wait => {}
    }
    if decision.remove_lock {
        words.push("remove_lock");
    }
    words
}

/// One migration of `check --dry-run`.
pub(super) fn inspection(it: &Inspection) -> Value {
    let row = &it.view.row;
    json!({
        "mb_project_uuid": row.key.mb_project_uuid,
        "brz_project_id": row.key.brz_project_id,
        "lock_file_exists": it.view.lock_exists,
        "lock_file": it.lock.as_ref().map(|lock| lock.file.as_str()),
        "pid": row.lock_pid,
        "status": row.status.as_str(),
        "state": row.state.as_str(),
        "explain": it.decision.explain.iter().map(predicate).collect::<Vec<_>>(),
        "verdict": it.decision.outcome.as_str(),
        "would": would(&it.decision),
    })
}

fn predicate(it: &Predicate) -> Value {
    let mut map = Map::new();
    map.insert("predicate".into(), it.name.into());
    map.insert("value".into(), it.value.clone().into());
    if let Some(threshold) = &it.threshold {
        map.insert("threshold".into(), threshold.clone().into());
    }
    map.insert("holds".into(), it.holds.into());
    Value::Object(map)
}

/// A heartbeat.
pub(super) fn instance(row: &InstanceRow) -> Value {
    let time = |millis| crate::domain::Timestamp(millis);
    json!({
        "name": row.name,
        "host": row.host_id,
        "pid": row.pid,
        "version": row.version,
        "since": time(row.since),
        "last_beat": time(row.last_beat),
        "swept_at": row.swept_at.map(time),
        "nodes": row.nodes,
        "locks": row.locks,
    })
}
