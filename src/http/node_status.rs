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
use super::health::view_state;
use super::nodes_status::wake_if_other;
use super::query::Params;
use super::request::Id;
use crate::clock;
use crate::domain::details::{details, find};
use crate::domain::verdict::State as NodeState;
use crate::domain::{Method, Timestamp};
use crate::snapshot::{NodeView, NodesPart};

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
/// second the last answer is given again. Nothing is recorded. A disabled node is not looked at; it, and a look that
/// takes over 10 s, are answered from the record, with `live: false` in `details`.
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
    State(state): State<AppState>,
    Id(id): Id,
    params: Params,
) -> Result<Json<NodeStatus>, Problem> {
    let method = params.method()?.unwrap_or(Method::Full);
    let snapshot = state.snapshot();
    let part = &snapshot.nodes;
    let view = part.find(&id).ok_or_else(|| Problem::not_found(format!("no node '{id}'")))?;
    if !view.node.available {
        return Ok(Json(recorded(part, view)));
    }
    let look = state.0.parts.checker.live(&view.node, method);
    let Ok(checked) = tokio::time::timeout(LOOK_TIME, look).await else {
        return Ok(Json(recorded(part, view)));
    };
    wake_if_other(&state, view, &checked);
    let details = details(&checked.observation, checked.at.wall);
    Ok(Json(NodeStatus { status: find(&checked.observation).is_up(), details }))
}

fn recorded(part: &NodesPart, view: &NodeView) -> NodeStatus {
    let state = view_state(part, view, clock::now().up);
    let verdict = &view.verdict;
    let recorded = verdict.data.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut details: Map<String, Value> = recorded.unwrap_or_default();
    let mut say = |key: &str, value: Value| {
        details.entry(key).or_insert(value);
    };
    say("method", verdict.method.map(Method::as_str).into());
    say("message", verdict.message.clone().into());
    say("last_check", verdict.checked_at.map(Timestamp::rfc3339).into());
    say("state", state.as_str().into());
    details.insert("live".to_owned(), false.into());
    NodeStatus { status: state == NodeState::Up, details: details.into() }
}
