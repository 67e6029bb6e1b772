//! `PATCH /migrations/{id}`: the runner's report. `DELETE /migrations/{id}/lock`: an operator removes a lock.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayWrite;
use super::error::Problem;
use super::migration_bodies::{MigrationAnswer, body};
use super::migrations::{elsewhere, parse_id};
use super::query::Params;
use super::request::{Id, Object, only};
use crate::domain::migration::{MAX_PROJECT_ID, Status};
use crate::domain::report::Report;
use crate::locks::Removal;
use crate::reconciler::migrations::{Handle, RequestError, Target};

/// How a run may end, in its runner's word.
pub const ENDS: [Status; 3] = [Status::Success, Status::Completed, Status::Error];

/// Longest `error`, in characters: a message, not a log.
pub const MAX_ERROR: usize = 4096;

/// Longest `mb_project_uuid`, in bytes: as in a lock.
pub const MAX_UUID: usize = 64;

/// A removed lock.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockDeleted {
    /// For people.
    #[schema(value_type = String, example = "Lock removed")]
    pub message: &'static str,
    /// Its name.
    pub lock_file: String,
    /// Always true.
    pub removed: bool,
}

/// A removed lock.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockDeletedAnswer {
    /// Always true.
    pub success: bool,
    /// Which.
    pub data: LockDeleted,
}

/// The runner's report about its end
///
/// Stored as sent. It changes an unfinished run, or an end that was only concluded from the lock's absence; the
/// same word again is 200, another one 409 `already_finished`, another `run` 409 `run_mismatch`. Without a row and
/// a lock it is 404, unless the body has `mb_project_uuid`: then the finished row is made.
#[utoipa::path(
    patch, path = "/migrations/{id}", tag = "migrations", operation_id = "report_migration",
    security(("token" = [])),
    params(super::openapi::MigrationPath, super::openapi::UuidQuery),
    request_body = super::openapi::ReportFields,
    responses(
        (status = 200, description = "The migration as it is now", body = MigrationAnswer),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 403, response = super::openapi::WritesDisabled),
        (status = 404, response = super::openapi::NotFound),
        (status = 409, response = super::openapi::MigrationConflict),
        (status = 413, response = super::openapi::TooLarge),
        (status = 415, response = super::openapi::WrongType),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn report(
    _: MayWrite,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
    Object(map): Object,
) -> Result<Json<MigrationAnswer>, Problem> {
    let id = parse_id(&id)?;
    let (report, in_body) = read(&map)?;
    let in_query = uuid_of(&params)?;
    if let (Some(a), Some(b)) = (&in_body, &in_query)
        && a != b
    {
        return Err(Problem::field("mb_project_uuid", "is another one in the query"));
    }
    let target = Target { id, uuid: in_body.or(in_query) };
    let view = reconciler(&state)?.report(target, report).await?;
    Ok(Json(body(&view)))
}

/// Remove a lock
///
/// 409 `process_alive` while its process lives or may live, unless `force=true`; the run is then ended by the end
/// of its process. 409 `not_here` (with `instance`) while another instance watches it: ask that one.
#[utoipa::path(
    delete, path = "/migrations/{id}/lock", tag = "migrations", operation_id = "delete_lock",
    security(("token" = [])),
    params(super::openapi::MigrationPath, super::openapi::UuidQuery, super::openapi::ForceQuery),
    responses(
        (status = 200, description = "The lock is gone", body = LockDeletedAnswer),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 403, response = super::openapi::LockDenied),
        (status = 404, response = super::openapi::NotFound),
        (status = 409, response = super::openapi::MigrationConflict),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn take_lock(
    _: MayWrite,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<LockDeletedAnswer>, Problem> {
    let id = parse_id(&id)?;
    let force = params.switch("force")?;
    let uuid = uuid_of(&params)?;
    require_here(&state, id, uuid.as_deref())?;
    let taken = reconciler(&state)?.take_lock(Target { id, uuid }, force).await?;
    let changed = |detail: &str| {
        let detail = format!("{}: {detail}", taken.file);
        Problem::new(StatusCode::CONFLICT, "lock_changed", detail)
    };
    match &taken.removal {
        Removal::Removed => {
            let data =
                LockDeleted { message: "Lock removed", lock_file: taken.file, removed: true };
            Ok(Json(LockDeletedAnswer { success: true, data }))
        }
        Removal::Changed => Err(changed("it was written meanwhile and stays")),
        Removal::NewerWins => Err(changed("a newer lock took its place and stays")),
        Removal::Vanished => Err(RequestError::NoLock(id).into()),
        Removal::Denied(why) => {
            let detail = format!("{}: the lock may not be removed: {why}", taken.file);
            Err(Problem::new(StatusCode::FORBIDDEN, "lock_denied", detail))
        }
    }
}

/// A lock that another instance watches is on its host; whether its process lives can be told only there.
fn require_here(state: &AppState, id: i64, uuid: Option<&str>) -> Result<(), Problem> {
    let snapshot = state.snapshot();
    let mut meant = snapshot.migrations.migrations.iter().filter(|view| {
        let key = &view.row.key;
        key.brz_project_id == id
            && uuid.is_none_or(|uuid| uuid.eq_ignore_ascii_case(&key.mb_project_uuid))
    });
    // Of several the reconciler says that it is ambiguous.
    let (Some(view), None) = (meant.next(), meant.next()) else { return Ok(()) };
    match elsewhere(view, state.here()) {
        Some(instance) if !view.row.status.is_final() => {
            let detail = format!("the lock is watched by the instance '{instance}': ask that one");
            Err(Problem::new(StatusCode::CONFLICT, "not_here", detail).with("instance", instance))
        }
        _ => Ok(()),
    }
}

fn reconciler(state: &AppState) -> Result<&Handle, Problem> {
    state.migrations().ok_or_else(|| RequestError::Off.into())
}

fn read(map: &Map<String, Value>) -> Result<(Report, Option<String>), Problem> {
    only(map, &["status", "error", "run", "mb_project_uuid"])?;
    let words = ENDS.map(Status::as_str).join(", ");
    let status = match map.get("status") {
        None | Some(Value::Null) => {
            return Err(Problem::field("status", format!("is required: one of {words}")));
        }
        Some(Value::String(word)) => ENDS.into_iter().find(|status| status.as_str() == word),
        Some(_) => None,
    };
    let status = status.ok_or_else(|| {
        Problem::field("status", format!("{} is none of {words}", shown(map.get("status"))))
    })?;
    let run = match map.get("run") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let run = value.as_i64().filter(|run| (1..=MAX_PROJECT_ID).contains(run));
            let fault = || format!("must be a whole number from 1 to {MAX_PROJECT_ID}");
            Some(run.ok_or_else(|| Problem::field("run", fault()))?)
        }
    };
    let error = text(map, "error", MAX_ERROR)?;
    let uuid = text(map, "mb_project_uuid", MAX_UUID)?;
    if let Some(uuid) = &uuid {
        check_uuid(uuid).map_err(|fault| Problem::field("mb_project_uuid", fault))?;
    }
    Ok((Report { status, error, run }, uuid))
}

fn uuid_of(params: &Params) -> Result<Option<String>, Problem> {
    let Some(uuid) = params.get("mb_project_uuid")? else { return Ok(None) };
    check_uuid(uuid).map_err(|fault| Problem::parameter("mb_project_uuid", fault))?;
    Ok(Some(uuid.to_owned()))
}

/// A uuid is part of a file's name.
fn check_uuid(uuid: &str) -> Result<(), String> {
    let fits = !uuid.is_empty() && uuid.len() <= MAX_UUID && uuid.trim() == uuid;
    if !fits || uuid.chars().any(|c| c == '/' || c.is_control()) {
        return Err(format!(
            "must have 1 to {MAX_UUID} bytes, none of them '/' or control, and no space at the ends"
        ));
    }
    Ok(())
}

fn text(map: &Map<String, Value>, name: &str, max: usize) -> Result<Option<String>, Problem> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= max => Ok(Some(text.clone())),
        Some(_) => {
            Err(Problem::field(name, format!("must be a string of at most {max} characters")))
        }
    }
}

/// A refused value, as its sender wrote it; only words are repeated.
fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(word)) => {
            format!("'{}'", word.chars().take(64).collect::<String>())
        }
        Some(_) => "a value that is no string".to_owned(),
        None => "nothing".to_owned(),
    }
}
