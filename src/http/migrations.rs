//! `GET /migrations`, `/migrations/{id}` and its status, from the snapshot.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;

use super::AppState;
use super::auth::MayRead;
use super::bodies::Prepared;
use super::error::Problem;
use super::lists::{self, Rows, heavy};
use super::migration_bodies::{
    MigrationAnswer, MigrationList, MigrationStatusAnswer, body, list_row, status as status_body,
    unreadable,
};
use super::query::{Params, whole};
use super::request::Id;
use crate::domain::Uptime;
use crate::domain::migration::{MAX_PROJECT_ID, State as MigrationState, Status};
use crate::snapshot::{MigrationView, MigrationsPart, Watch};

/// Largest `limit`.
pub const MAX_LIMIT: i64 = 10_000;

/// Which migrations are wanted; the default is all of them.
#[derive(Debug, Default, PartialEq)]
struct Filter {
    status: Option<Wanted>,
    uuid: Option<String>,
    id: Option<i64>,
    state: Option<MigrationState>,
    limit: Option<usize>,
    after: usize,
}

#[derive(Debug, PartialEq)]
enum Wanted {
    Status(Status),
    Nothing,
}

impl Filter {
    fn read(params: &Params) -> Result<Self, Problem> {
        let words: Vec<_> = MigrationState::ALL.iter().map(|it| it.as_str()).collect();
        let limit = params.number("limit", 1, MAX_LIMIT)?;
        let after = params.number("after", 0, MAX_PROJECT_ID)?.unwrap_or(0);
        Ok(Self {
            status: params
                .get("status")?
                .map(|word| Status::parse(word).map_or(Wanted::Nothing, Wanted::Status)),
            uuid: params.get("mb_project_uuid")?.map(str::to_owned),
            id: params.number("brz_project_id", 1, MAX_PROJECT_ID)?,
            state: params.word("state", &words)?.and_then(MigrationState::parse),
            limit: limit.and_then(|limit| usize::try_from(limit).ok()),
            after: usize::try_from(after).unwrap_or(usize::MAX),
        })
    }

    fn takes(&self, view: &MigrationView) -> bool {
        let row = &view.row;
        let status = match &self.status {
            None => true,
            Some(Wanted::Nothing) => false,
            // The migration dashboard asks for `success` and means every good end.
            Some(Wanted::Status(Status::Success)) => {
                matches!(row.status, Status::Success | Status::Completed)
            }
            Some(Wanted::Status(status)) => row.status == *status,
        };
        status
            && self.uuid.as_ref().is_none_or(|uuid| row.key.mb_project_uuid.contains(uuid))
            && self.id.is_none_or(|id| row.key.brz_project_id == id)
            && self.state.is_none_or(|state| view.state().0 == state)
    }
}

/// Migrations, in the order of first sight
///
/// All of them unless there is a filter or a `limit`; an empty filter is ignored. From the last published snapshot.
#[utoipa::path(
    get, path = "/migrations", tag = "migrations", operation_id = "list_migrations",
    params(super::openapi::MigrationFilters, super::openapi::IfNoneMatch),
    responses(
        (status = 200, description = "The migrations that pass the filters", body = MigrationList,
            headers(("ETag" = String), ("Vary" = String), ("Cache-Control" = String))),
        (status = 304, description = "The client has this already"),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
    ),
)]
pub async fn list(
    _: MayRead,
    State(state): State<AppState>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let filter = Filter::read(&params)?;
    let part = Arc::clone(&state.snapshot().migrations);
    let (generation, count) = (part.generation, part.migrations.len());
    if filter != Filter::default() {
        let body = heavy(count, move || render(&part, &filter)).await?;
        return Ok(body.respond(&headers).await.map(Body::from));
    }
    // Nothing in it depends on the clock: it holds until the next publication.
    let make = move |rows: &mut _| (all(rows, &part), Uptime(i64::MAX));
    let body = state.0.migrations.get(generation, Uptime::default(), count, make).await?;
    Ok(body.respond(&headers).await.map(Body::from))
}

/// The answer without a filter, where all that it needs is there already: the list is made, and packed as it is wanted.
pub fn ready(state: &AppState, headers: &HeaderMap) -> Option<Response<Bytes>> {
    let generation = state.0.parts.published.load().migrations.generation;
    state.0.migrations.held(generation, Uptime::default())?.respond_now(headers)
}

/// The list without a filter, made from the last one. A row depends on its view alone.
pub type List = lists::List<MigrationView, ()>;

fn all(rows: &mut Rows<MigrationView, ()>, part: &MigrationsPart) -> Prepared {
    // Rows are never removed, so a place in the list is a row's own.
    let views = (0_i64..).zip(&part.migrations).map(|(place, view)| (place, Arc::clone(view), ()));
    let unreadable = serde_json::to_string(&unreadable(&part.unreadable)).unwrap_or_default();
    let after = format!(r#"],"count":{},"unreadable":{unreadable}}}"#, part.migrations.len());
    rows.write(r#"{"success":true,"data":["#, views, &after, |view, (), out| {
        // Into memory nothing fails.
        let _ = serde_json::to_writer(out, &list_row(view));
    })
}

fn render(part: &MigrationsPart, filter: &Filter) -> Prepared {
    // Rows are never removed, so a place in the list is a cursor.
    let places = part.migrations.iter().enumerate().skip(filter.after);
    let mut found = places.filter(|(_, view)| filter.takes(view)).peekable();
    let mut data = Vec::new();
    let mut next = None;
    while let Some((place, view)) = found.next() {
        data.push(list_row(view));
        if filter.limit.is_some_and(|limit| data.len() >= limit) {
            next = found.peek().and_then(|_| i64::try_from(place + 1).ok());
            break;
        }
    }
    let unreadable = unreadable(&part.unreadable);
    let body = MigrationList { success: true, count: data.len(), data, unreadable, next };
    Prepared::new(serde_json::to_vec(&body).unwrap_or_default())
}

/// `brz_project_id` of a path.
pub fn parse_id(id: &str) -> Result<i64, Problem> {
    whole(id, 1, MAX_PROJECT_ID).map_err(|fault| Problem::parameter("id", fault))
}

/// The migration with this id, and this uuid if one is given; of several the newest by `created_at`.
pub fn find(
    part: &MigrationsPart,
    id: i64,
    params: &Params,
) -> Result<Option<Arc<MigrationView>>, Problem> {
    let uuid = params.get("mb_project_uuid")?;
    let mine = part.migrations.iter().filter(|view| {
        let key = &view.row.key;
        key.brz_project_id == id && uuid.is_none_or(|uuid| key.mb_project_uuid == uuid)
    });
    Ok(mine.max_by_key(|view| view.row.created_at).cloned())
}

/// The instance that a migration belongs to, where it is another one and this one sees nothing of it.
pub fn elsewhere<'a>(view: &'a MigrationView, here: &str) -> Option<&'a str> {
    let other = view.row.instance.as_str();
    (view.watch != Watch::Here && other != here).then_some(other)
}

/// 404 for a migration.
pub fn unknown(id: i64) -> Problem {
    Problem::not_found(format!("no migration {id}"))
}

/// One migration
///
/// In the form of the earlier API. Where several uuids have this id, the newest by `created_at`.
#[utoipa::path(
    get, path = "/migrations/{id}", tag = "migrations", operation_id = "get_migration",
    params(super::openapi::MigrationPath, super::openapi::UuidQuery),
    responses(
        (status = 200, description = "The migration", body = MigrationAnswer),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
    ),
)]
pub async fn get(
    _: MayRead,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<MigrationAnswer>, Problem> {
    let id = parse_id(&id)?;
    let view = find(&state.snapshot().migrations, id, &params)?.ok_or_else(|| unknown(id))?;
    Ok(Json(body(&view)))
}

/// The status of one migration
///
/// With who said it and why. Where several uuids have this id, the newest by `created_at`.
#[utoipa::path(
    get, path = "/migrations/{id}/status", tag = "migrations", operation_id = "migration_status",
    params(super::openapi::MigrationPath, super::openapi::UuidQuery),
    responses(
        (status = 200, description = "The status", body = MigrationStatusAnswer),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
    ),
)]
pub async fn status(
    _: MayRead,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<MigrationStatusAnswer>, Problem> {
    let id = parse_id(&id)?;
    let view = find(&state.snapshot().migrations, id, &params)?.ok_or_else(|| unknown(id))?;
    Ok(Json(status_body(&view)))
}
