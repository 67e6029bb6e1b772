//! `GET /migrations/{id}/process`: what the lock and the process look like now, and what the monitor would do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use super::error::Problem;
use super::limits::Work;
use super::migration_record::report as recorded;
use super::migrations::{elsewhere, find, parse_id};
use super::query::Params;
use super::request::Id;
use crate::clock;
use crate::domain::Now;
use crate::domain::migration::{LockPid, Reason};
use crate::domain::process::DeathProof;
use crate::domain::reconcile::{Predicate, Standing};
use crate::process::ProcessDetails;
use crate::reconciler::migrations::{Inspection, RequestError, Target};

/// The process, in the form of the earlier API.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessBody {
    /// Whether it lives, as far as can be told.
    pub running: bool,
    /// The PID in the lock, else the recorded one.
    pub pid: Option<i64>,
    /// For people.
    #[schema(example = "Process 48213 is gone since 41 s")]
    pub message: String,
    /// Where the PID comes from.
    #[schema(example = "lock_file_pid", pattern = "^(lock_file_pid|recorded_pid)$")]
    pub detected_by: Option<&'static str>,
    /// Whole seconds since the lock was written last; null without a lock.
    pub lock_file_age: Option<u64>,
    /// As the lock has it.
    pub started_at: Value,
    /// As the lock has it.
    pub current_stage: Value,
    /// As the lock has it.
    pub stage_updated_at: Value,
    /// As the lock has it.
    pub total_pages: Value,
    /// As the lock has it.
    pub processed_pages: Value,
    /// As the lock has it.
    pub progress_percent: Value,
}

/// One condition of the judgement.
#[derive(Debug, Serialize, ToSchema)]
pub struct PredicateBody {
    /// Its name.
    #[schema(example = "lock_age")]
    pub predicate: &'static str,
    /// What was seen.
    #[schema(example = "701s")]
    pub value: String,
    /// What it is held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "600s")]
    pub threshold: Option<String>,
    /// Whether it holds.
    pub holds: bool,
}

/// A migration's lock and process, and what follows.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessReport {
    /// Whether the lock stands.
    pub lock_file_exists: bool,
    /// Its name, or the last one recorded.
    pub lock_file: Option<String>,
    /// Always false: a GET changes nothing.
    pub status_updated: bool,
    /// The process.
    pub process: ProcessBody,
    /// More about it while it lives here.
    #[schema(value_type = Option<Object>)]
    pub process_details: Option<ProcessDetails>,
    /// Why, condition by condition.
    pub explain: Vec<PredicateBody>,
    /// What it comes to.
    #[schema(value_type = super::openapi::words::VerdictWord, example = "error")]
    pub verdict: &'static str,
    /// What the monitor would do at this look.
    #[schema(value_type = Vec<super::openapi::words::WouldWord>, example = json!(["set_error", "remove_lock"]))]
    pub would: Vec<&'static str>,
    /// Present and false when another instance watches it: all of this is the record, and no process was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
}

/// A migration's lock and process.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessAnswer {
    /// Always true.
    pub success: bool,
    /// What was seen.
    pub data: ProcessReport,
}

/// What a migration's lock and process look like now
///
/// And what the monitor would do about it, condition by condition. Nothing is written and nothing removed. What another
/// instance watches is answered from the record, with `live: false`.
#[utoipa::path(
    get, path = "/migrations/{id}/process", tag = "migrations", operation_id = "migration_process",
    params(super::openapi::MigrationPath, super::openapi::UuidQuery),
    responses(
        (status = 200, description = "What was seen", body = ProcessAnswer),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
        (status = 409, response = super::openapi::MigrationConflict),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn get(
    _: MayRead,
    _work: Work,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<ProcessAnswer>, Problem> {
    let id = parse_id(&id)?;
    let given = params.get("mb_project_uuid")?.map(str::to_owned);
    let newest = find(&state.snapshot().migrations, id, &params)?;
    if let Some(view) = &newest
        && let Some(instance) = elsewhere(view, state.here())
    {
        return Ok(Json(ProcessAnswer { success: true, data: recorded(view, instance) }));
    }
    let Some(reconciler) = state.migrations() else {
        let detail = RequestError::Off.to_string();
        return Err(Problem::new(StatusCode::NOT_FOUND, "migrations_off", detail));
    };
    let uuid = given.or_else(|| newest.map(|view| view.row.key.mb_project_uuid.clone()));
    let seen = reconciler.inspect(Target { id, uuid }).await?;
    Ok(Json(ProcessAnswer { success: true, data: report(*seen, clock::now()) }))
}

fn report(seen: Inspection, now: Now) -> ProcessReport {
    let lock = seen.lock.as_ref();
    let value =
        |key| seen.data.as_ref().and_then(|data| data.get(key)).cloned().unwrap_or_default();
    let (pid, detected_by) = pid_of(&seen);
    let process = ProcessBody {
        running: matches!(seen.standing, Standing::Alive(_)),
        pid,
        message: message(&seen, pid, now),
        detected_by,
        lock_file_age: lock.map(|lock| now.wall.since(lock.mtime).as_secs()),
        started_at: value("started_at"),
        current_stage: value("current_stage"),
        stage_updated_at: value("stage_updated_at"),
        total_pages: value("total_pages"),
        processed_pages: value("processed_pages"),
        progress_percent: value("progress_percent"),
    };
    let would = seen.decision.would();
    ProcessReport {
        lock_file_exists: lock.is_some(),
        lock_file: lock.map(|lock| lock.file.to_string()).or(seen.view.row.lock_file),
        status_updated: false,
        process,
        process_details: seen.process,
        explain: seen.decision.explain.into_iter().map(predicate).collect(),
        verdict: seen.decision.outcome.as_str(),
        would,
        live: None,
    }
}

/// One condition.
pub fn predicate(it: Predicate) -> PredicateBody {
    PredicateBody { predicate: it.name, value: it.value, threshold: it.threshold, holds: it.holds }
}

fn pid_of(seen: &Inspection) -> (Option<i64>, Option<&'static str>) {
    match seen.lock.as_ref().map(|lock| lock.pid) {
        Some(LockPid::Number(pid)) => (Some(pid), Some("lock_file_pid")),
        _ => match seen.view.row.lock_pid {
            Some(pid) => (Some(pid), Some("recorded_pid")),
            None => (None, None),
        },
    }
}

fn message(seen: &Inspection, pid: Option<i64>, now: Now) -> String {
    let who = pid.map_or_else(|| "The process".to_owned(), |pid| format!("Process {pid}"));
    let row = &seen.view.row;
    if seen.lock.is_none() && row.status.is_final() {
        return format!("The run has ended: {}", row.status);
    }
    match &seen.standing {
        Standing::Alive(Some(alive)) if alive.stopped => format!("{who} is stopped"),
        Standing::Alive(Some(_)) => format!("{who} is running"),
        Standing::Alive(None) => "The lock names no process yet".to_owned(),
        Standing::Dead(proof) => {
            let told = match proof {
                DeathProof::NoSuchProcess | DeathProof::Exited => "is gone",
                DeathProof::Zombie => "is a zombie",
                DeathProof::Rebooted => "is gone, the machine was restarted, seen",
                DeathProof::Reused => "is another process",
            };
            let dead = seen.decision.memory.dead;
            let since = dead.map_or(0, |dead| now.up.since(dead.up).as_secs());
            format!("{who} {told} since {since} s")
        }
        Standing::Unknown(Reason::PidNamespace) => {
            format!("{who} may live in another PID namespace")
        }
        Standing::Unknown(_) => format!("{who} cannot be told: no PID that means a process"),
        Standing::Foreign => format!("{who} is another host's, as far as can be told"),
    }
}
