//! `GET /nodes/{id}/history`, `GET /migrations/{id}/history`: what turned, and how long a node was up.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use super::error::Problem;
use super::limits::Work;
use super::migration_bodies::ExitBody;
use super::migrations::{find, parse_id};
use super::query::Params;
use super::request::Id;
use crate::clock;
use crate::domain::uptime::Share;
use crate::domain::{Exit, Timestamp};
use crate::history::{LONGEST_PAGE, PAGE, Page, Subject, Turn, page, place, uptimes};
use crate::store::Place;

/// A turn of a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeTurn {
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The state before; null where that is not on record.
    #[schema(value_type = Option<super::openapi::words::NodeState>)]
    pub from: Option<String>,
    /// The state after.
    #[schema(value_type = super::openapi::words::NodeState, example = "down")]
    pub to: String,
    /// Why.
    #[schema(value_type = Option<super::openapi::words::NodeReason>, example = "process_gone")]
    pub reason: Option<String>,
    /// The instance that saw it.
    pub instance: String,
}

/// A turn of a migration.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationTurn {
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The state that the turn before it left; null where that is not on record.
    #[schema(value_type = Option<super::openapi::words::MigrationState>)]
    pub from: Option<String>,
    /// The state after.
    #[schema(value_type = super::openapi::words::MigrationState, example = "finished")]
    pub to: String,
    /// Why.
    #[schema(value_type = Option<super::openapi::words::MigrationReason>, example = "killed")]
    pub reason: Option<String>,
    /// The instance that saw it.
    pub instance: String,
    /// The status after.
    #[schema(value_type = Option<super::openapi::words::MigrationStatusWord>, example = "error")]
    pub status: Option<String>,
    /// Which attempt.
    pub run: Option<i64>,
    /// How its process ended, where the kernel told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitBody>,
}

/// How long a node was up in a period.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Period {
    /// Which part of the time that is known it was up, 0 to 1; null where nothing is known.
    #[schema(minimum = 0, maximum = 1, example = 0.9993)]
    pub ratio: Option<f64>,
    /// Seconds in which nobody watched, or it could not be told: neither up nor down.
    pub unknown_seconds: u64,
}

/// How long a node was up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Uptime {
    /// In the last 24 hours.
    #[serde(rename = "24h")]
    pub day: Period,
    /// In the last seven days.
    #[serde(rename = "7d")]
    pub week: Period,
    /// In the last thirty days.
    #[serde(rename = "30d")]
    pub month: Period,
}

/// What became of a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeHistory {
    /// Newest first.
    pub history: Vec<NodeTurn>,
    /// `before` of the next page; null at the end.
    pub next: Option<String>,
    /// How long it was up.
    pub uptime: Uptime,
}

/// What became of a migration.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationHistory {
    /// Newest first.
    pub history: Vec<MigrationTurn>,
    /// `before` of the next page; null at the end.
    pub next: Option<String>,
}

/// What became of a node
///
/// Its turns as they were recorded, newest first, for as long as `history.retain` says; and how long it was up. The time
/// in which no instance watched is unknown.
#[utoipa::path(
    get, path = "/nodes/{id}/history", tag = "nodes", operation_id = "node_history",
    params(super::openapi::NodePath, super::openapi::PageQuery),
    responses(
        (status = 200, description = "A page of its turns", body = NodeHistory),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn node(
    _: MayRead,
    _work: Work,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<NodeHistory>, Problem> {
    let (before, limit) = wanted(&params)?;
    let view = state.snapshot().nodes.find(&id).map(|view| view.node.id);
    let id = view.ok_or_else(|| Problem::not_found(format!("no node '{id}'")))?;
    let page = page(state.store(), Subject::Node(id), before, limit).await?;
    let retain = state.settings().history.retain;
    let shares = uptimes(state.store(), id, retain, clock::now().wall).await?;
    Ok(Json(node_body(page, shares)))
}

/// What became of a migration
///
/// Its turns as they were recorded, newest first, for as long as `history.retain` says: ends, further attempts, and that it
/// stalled or went on. Where several uuids have this id, the newest by `created_at`.
#[utoipa::path(
    get, path = "/migrations/{id}/history", tag = "migrations", operation_id = "migration_history",
    params(super::openapi::MigrationPath, super::openapi::UuidQuery, super::openapi::PageQuery),
    responses(
        (status = 200, description = "A page of its turns", body = MigrationHistory),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn migration(
    _: MayRead,
    _work: Work,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<MigrationHistory>, Problem> {
    let id = parse_id(&id)?;
    let (before, limit) = wanted(&params)?;
    let missing = || Problem::not_found(format!("no migration {id}"));
    let view = find(&state.snapshot().migrations, id, &params)?.ok_or_else(missing)?;
    let row = state.store().migration_id(&view.row.key).await?.ok_or_else(missing)?;
    Ok(Json(migration_body(page(state.store(), Subject::Migration(row), before, limit).await?)))
}

fn wanted(params: &Params) -> Result<(Option<Place>, i64), Problem> {
    let limit = params.number("limit", 1, LONGEST_PAGE)?.unwrap_or(PAGE);
    let before = params.get("before")?.map(|text| {
        place(text).ok_or_else(|| Problem::parameter("before", "is no `next` of a page"))
    });
    Ok((before.transpose()?, limit))
}

/// The answer about a node.
#[must_use]
pub fn node_body(page: Page, [day, week, month]: [Share; 3]) -> NodeHistory {
    let turn = |Turn { from, event }: Turn| NodeTurn {
        at: Timestamp(event.at),
        from,
        to: event.state,
        reason: event.reason,
        instance: event.instance,
    };
    let uptime = Uptime { day: period(day), week: period(week), month: period(month) };
    NodeHistory { history: page.turns.into_iter().map(turn).collect(), next: page.next, uptime }
}

/// The answer about a migration.
#[must_use]
pub fn migration_body(page: Page) -> MigrationHistory {
    let turn = |Turn { from, event }: Turn| MigrationTurn {
        at: Timestamp(event.at),
        from,
        to: event.state,
        reason: event.reason,
        instance: event.instance,
        status: event.status,
        run: event.run,
        exit: event.exit_status.and_then(Exit::of_wait_status).map(ExitBody::from),
    };
    MigrationHistory { history: page.turns.into_iter().map(turn).collect(), next: page.next }
}

fn period(share: Share) -> Period {
    let known = share.up + share.down;
    let ratio = (!known.is_zero()).then(|| share.up.as_secs_f64() / known.as_secs_f64());
    Period { ratio, unknown_seconds: share.unknown.as_secs() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ratio_is_of_what_is_known() {
        let secs = Duration::from_secs;
        let share = Share { up: secs(75), down: secs(25), unknown: secs(86_300) };
        assert_eq!(period(share), Period { ratio: Some(0.75), unknown_seconds: 86_300 });
        let share = Share { unknown: secs(5), ..Share::default() };
        assert_eq!(period(share), Period { ratio: None, unknown_seconds: 5 });
    }
}
