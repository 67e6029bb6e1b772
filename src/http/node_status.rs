//! `GET /nodes/{id}/status`: one node, looked at now.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use super::error::Problem;
use super::limits::Work;
use super::nodes_status::{wake_if_other, weighed};
use super::query::Params;
use super::request::Id;
use super::told::Told;
use crate::clock;
use crate::domain::details::{details, find};
use crate::domain::observation::Reason;
use crate::domain::verdict::Verdict;
use crate::domain::{Method, Timestamp};

/// How long a look may take before the record is shown instead: as long as a look at all of them.
const LOOK_TIME: Duration = Duration::from_secs(10);

/// One node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeStatus {
    /// Whether it works.
    pub status: bool,
    /// What was seen; the fields depend on the method. `live: false` when it comes from the record.
    #[schema(value_type = Object)]
    pub details: Value,
}

/// One node, looked at now
///
/// By `full` unless `method` says otherwise. Requests for the same node and method share one look, and within a
/// second the last answer is given again. Nothing is recorded. A disabled node and one of another instance are not looked
/// at; they, and a look that takes over 10 s, are answered from the record, with `live: false` in `details`.
#[utoipa::path(
    get, path = "/nodes/{id}/status", tag = "nodes", operation_id = "node_status",
    params(super::openapi::NodePath, super::openapi::MethodQuery),
    responses(
        (status = 200, description = "What was seen, working or not", body = NodeStatus),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
    ),
)]
pub async fn get(
    _: MayRead,
    _work: Work,
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<NodeStatus>, Problem> {
    let method = params.method()?.unwrap_or(Method::Full);
    let snapshot = state.snapshot();
    let part = &snapshot.nodes;
    let view = part.find(&id).ok_or_else(|| Problem::not_found(format!("no node '{id}'")))?;
    let told = || Told::of(part, view, state.here(), clock::now().up);
    if !view.node.available || !view.is_mine() {
        return Ok(Json(recorded(&view.verdict, told())));
    }
    let look = state.0.parts.checker.live(&view.node, method);
    let Ok(checked) = tokio::time::timeout(LOOK_TIME, look).await else {
        return Ok(Json(recorded(&view.verdict, told())));
    };
    let seen = weighed(&state, view, &checked);
    wake_if_other(&state, view, &seen);
    let details = details(&seen, checked.at.wall);
    Ok(Json(NodeStatus { status: find(&seen).is_up(), details }))
}

/// A node that is not looked at, told so.
pub fn recorded(verdict: &Verdict, told: Told<'_>) -> NodeStatus {
    let status = told.is_up();
    let last = verdict.data.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut details: Map<String, Value> = last.unwrap_or_default();
    if told.reason != verdict.reason || told.message != verdict.message.as_str() {
        // The last look is over, whoever made it: what it said is not what is told now.
        details.insert("message".to_owned(), told.message.as_ref().into());
        details.insert("reason".to_owned(), told.reason.map(Reason::as_str).into());
    }
    let mut say = |key: &str, value: Value| {
        details.entry(key).or_insert(value);
    };
    say("method", verdict.method.map(Method::as_str).into());
    say("message", told.message.into());
    say("last_check", verdict.checked_at.map(Timestamp::rfc3339).into());
    say("state", told.state.as_str().into());
    details.insert("live".to_owned(), false.into());
    NodeStatus { status, details: details.into() }
}
