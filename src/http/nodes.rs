//! `/nodes` and `/nodes/{id}`: the registry. Passwords go in and never come out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::AppState;
use super::auth::{MayRead, MayWrite};
use super::bodies::Prepared;
use super::error::Problem;
use super::lists::heavy;
use super::request::{Id, Object, only};
use super::router::Base;
use super::told::Told;
use crate::clock;
use crate::domain::Timestamp;
use crate::domain::fleet::Placement;
use crate::domain::node::{ANY, Node};
use crate::domain::observation::Reason;
use crate::domain::service::Param;
use crate::domain::verdict::{State as NodeState, Verdict};
use crate::registry::NodePatch;
use crate::snapshot::{NodeView, NodesPart};
use crate::store::StoredNode;

/// A node of the registry with what is held of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeBody {
    /// Never reused.
    pub id: i64,
    /// Unique.
    #[schema(example = "main-node")]
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// Host name or address.
    #[schema(example = "127.0.0.1")]
    pub host: String,
    /// TCP port of its RPC server.
    #[schema(minimum = 1, maximum = 65535)]
    pub port: u16,
    /// What it serves.
    #[schema(value_type = super::openapi::words::NodeKind, example = "monero-wallet-rpc")]
    pub kind: &'static str,
    /// The JSON-RPC method that is called; absent where none is given, as the four fields below.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "get_block_count")]
    pub rpc_method: Option<String>,
    /// Where it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/healthz")]
    pub path: Option<String>,
    /// The HTTP statuses that are right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "200-299")]
    pub expect_status: Option<String>,
    /// A JSON pointer to what must be in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/status")]
    pub expect_field: Option<String>,
    /// What must stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "ok")]
    pub expect_value: Option<String>,
    /// Whether and how TLS is spoken.
    #[schema(value_type = super::openapi::words::NodeTls, example = "off")]
    pub tls: &'static str,
    /// User of the RPC login.
    pub username: Option<String>,
    /// Whether a password is set; the password itself is never told.
    pub has_password: bool,
    /// The daemon it uses, as its operator wrote it.
    pub daemon: Option<String>,
    /// The PID that its operator gave.
    pub pid: Option<i64>,
    /// A file with its PID.
    pub pid_file: Option<String>,
    /// File name of its program; null: any will do.
    #[schema(example = "monero-wallet-rpc")]
    pub process_name: Option<String>,
    /// Whether it is checked and counted.
    pub available: bool,
    /// The instance that it belongs to, or `any`: by its operator's word, else where it was registered if it has a PID,
    /// a PID file or a loopback host.
    pub instance: String,
    /// Until then it makes no alerts; it is checked and shown as ever. Null: no maintenance was announced.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub maintenance_until: Option<Timestamp>,
    /// The instance that answers for it now; null for one whose instance was forgotten, until it is taken.
    #[schema(example = "host-1")]
    pub owner: Option<String>,
    /// What it is now.
    #[schema(value_type = super::openapi::words::NodeState, example = "up")]
    pub state: &'static str,
    /// Why; may stand beside a node that works.
    #[schema(value_type = Option<super::openapi::words::NodeReason>)]
    pub reason: Option<&'static str>,
    /// Of the last look.
    pub message: String,
    /// Whether it is up now.
    pub worked: bool,
    /// The last look; null before the first.
    #[schema(value_type = Option<Object>)]
    pub worked_data: Option<Value>,
    /// When it was looked at last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// The last change of `state`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Of the last look, in milliseconds; null if no answer came.
    pub latency_ms: Option<u32>,
    /// The PID that was last observed to be this node.
    pub observed_pid: Option<i32>,
}

/// One node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeAnswer {
    /// Always true.
    pub success: bool,
    /// The node.
    pub data: NodeBody,
}

/// Every node.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeList {
    /// Always true.
    pub success: bool,
    /// By id.
    pub data: Vec<NodeBody>,
    /// How many.
    pub count: usize,
}

/// One node, told so.
pub fn body(node: &Node, verdict: &Verdict, told: Told<'_>) -> NodeBody {
    let identity = verdict.identity.as_ref().or(node.identity.as_ref());
    let param = |param| node.service.param(param).map(str::to_owned);
    NodeBody {
        id: node.id,
        name: node.name.clone(),
        title: node.title.clone(),
        host: node.host.clone(),
        port: node.port,
        kind: node.service.kind.as_str(),
        rpc_method: param(Param::RpcMethod),
        path: param(Param::Path),
        expect_status: param(Param::ExpectStatus),
        expect_field: param(Param::ExpectField),
        expect_value: param(Param::ExpectValue),
        tls: node.tls.as_str(),
        username: node.username.clone(),
        has_password: node.password.is_some(),
        daemon: node.daemon.clone(),
        pid: node.pid,
        pid_file: node.pid_file.clone(),
        process_name: Some(node.process_name.clone()).filter(|name| !name.is_empty()),
        available: node.available,
        instance: match Placement::of(node) {
            Placement::Any => ANY.to_owned(),
            Placement::On(name) => name.to_owned(),
        },
        maintenance_until: node.maintenance_until,
        owner: told.owner.map(str::to_owned),
        state: told.state.as_str(),
        reason: told.reason.map(Reason::as_str),
        worked: told.is_up(),
        message: told.message.into_owned(),
        worked_data: verdict.data.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        checked_at: verdict.checked_at,
        since: verdict.since,
        latency_ms: verdict.latency_ms,
        observed_pid: identity.map(|identity| identity.pid),
    }
}

fn of_view(part: &NodesPart, view: &NodeView, here: &str) -> NodeBody {
    body(&view.node, &view.verdict, Told::of(part, view, here, clock::now().up))
}

fn of_row(stored: &StoredNode, state: NodeState) -> NodeBody {
    let state = if stored.node.available { state } else { NodeState::Disabled };
    let verdict = &stored.verdict;
    let (reason, message) = (verdict.reason, verdict.message.as_str().into());
    let told = Told { state, reason, message, owner: stored.owner.as_deref() };
    body(&stored.node, verdict, told)
}

/// A node as it was just written: the snapshot's word on it where it is about the same row, else the row's.
fn of_stored(state: &AppState, stored: &StoredNode) -> NodeBody {
    let snapshot = state.snapshot();
    let part = &snapshot.nodes;
    match part.find(&stored.node.id.to_string()) {
        Some(view) if view.node.same_target(&stored.node) => {
            let told = Told::of(part, view, state.here(), clock::now().up);
            body(&stored.node, &view.verdict, told)
        }
        _ => of_row(stored, NodeState::Unknown),
    }
}

/// Every node
///
/// Disabled ones too, from the last published snapshot.
#[utoipa::path(
    get, path = "/nodes", tag = "nodes", operation_id = "list_nodes",
    params(super::openapi::IfNoneMatch),
    responses(
        (status = 200, description = "All nodes, by id", body = NodeList,
            headers(("ETag" = String), ("Vary" = String), ("Cache-Control" = String))),
        (status = 304, description = "The client has this already"),
        (status = 401, response = super::openapi::Unauthorized),
    ),
)]
pub async fn list(
    _: MayRead,
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let part = Arc::clone(&state.snapshot().nodes);
    let here = state.here().to_owned();
    let make = move || {
        let data: Vec<_> = part.nodes.iter().map(|view| of_view(&part, view, &here)).collect();
        let list = NodeList { success: true, count: data.len(), data };
        Prepared::new(serde_json::to_vec(&list).unwrap_or_default())
    };
    let body = heavy(state.snapshot().nodes.nodes.len(), make).await?;
    Ok(body.respond(&headers).await.map(Body::from))
}

/// One node
#[utoipa::path(
    get, path = "/nodes/{id}", tag = "nodes", operation_id = "get_node",
    params(super::openapi::NodePath),
    responses(
        (status = 200, description = "The node", body = NodeAnswer),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 404, response = super::openapi::NotFound),
    ),
)]
pub async fn get(
    _: MayRead,
    State(state): State<AppState>,
    Id(id): Id,
) -> Result<Json<NodeAnswer>, Problem> {
    let snapshot = state.snapshot();
    let part = &snapshot.nodes;
    let view = part.find(&id).ok_or_else(|| Problem::not_found(format!("no node '{id}'")))?;
    Ok(Json(NodeAnswer { success: true, data: of_view(part, view, state.here()) }))
}

/// Make a node
///
/// `name` and `port` are required. With `adopt.nodes` in force none is made here.
#[utoipa::path(
    post, path = "/nodes", tag = "nodes", operation_id = "create_node",
    security(("token" = [])),
    request_body = super::openapi::NewNode,
    responses(
        (status = 201, description = "The node", body = NodeAnswer, headers(("Location" = String))),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 403, response = super::openapi::WritesDisabled),
        (status = 409, response = super::openapi::NodeConflict),
        (status = 413, response = super::openapi::TooLarge),
        (status = 415, response = super::openapi::WrongType),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn create(
    _: MayWrite,
    State(state): State<AppState>,
    base: Option<Extension<Base>>,
    Object(map): Object,
) -> Result<impl IntoResponse, Problem> {
    let made = state.0.parts.registry.create(patch(map)?).await?;
    let base = base.map(|Extension(Base(base))| base).unwrap_or_default();
    let base = base.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    let location = format!("{}/nodes/{}", base.collect::<Vec<_>>().join("/"), made.node.id);
    let location: Option<(HeaderName, HeaderValue)> =
        HeaderValue::try_from(location).ok().map(|value| (header::LOCATION, value));
    let answer = NodeAnswer { success: true, data: of_stored(&state, &made) };
    Ok((StatusCode::CREATED, location.map(|it| [it]), Json(answer)))
}

/// Change a node
///
/// An absent field stays as it is; null clears a field that may be empty. Another `kind` forgets what stood beside the one
/// before (`rpc_method`, `path`, `expect_*`). Ends the node's kept connection. Of an adopted
/// node only `tls`, `pid_file`, `process_name`, `instance` and `maintenance_until` are changed here.
#[utoipa::path(
    patch, path = "/nodes/{id}", tag = "nodes", operation_id = "update_node",
    security(("token" = [])),
    params(super::openapi::NodePath),
    request_body = super::openapi::NodeFields,
    responses(
        (status = 200, description = "The node as it is now", body = NodeAnswer),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 403, response = super::openapi::WritesDisabled),
        (status = 404, response = super::openapi::NotFound),
        (status = 409, response = super::openapi::NodeConflict),
        (status = 413, response = super::openapi::TooLarge),
        (status = 415, response = super::openapi::WrongType),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn update(
    _: MayWrite,
    State(state): State<AppState>,
    Id(id): Id,
    Object(map): Object,
) -> Result<Json<NodeAnswer>, Problem> {
    let stored = state.0.parts.registry.update(&id, patch(map)?).await?;
    Ok(Json(NodeAnswer { success: true, data: of_stored(&state, &stored) }))
}

/// Remove a node
#[utoipa::path(
    delete, path = "/nodes/{id}", tag = "nodes", operation_id = "delete_node",
    security(("token" = [])),
    params(super::openapi::NodePath),
    responses(
        (status = 200, description = "The node as it was", body = NodeAnswer),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 403, response = super::openapi::WritesDisabled),
        (status = 404, response = super::openapi::NotFound),
        (status = 409, response = super::openapi::NodeAdopted),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn remove(
    _: MayWrite,
    State(state): State<AppState>,
    Id(id): Id,
) -> Result<Json<NodeAnswer>, Problem> {
    let stored = state.0.parts.registry.delete(&id).await?;
    Ok(Json(NodeAnswer { success: true, data: of_row(&stored, stored.verdict.state) }))
}

/// What a body may say, with what is allowed; `true` where null clears the field.
const FIELDS: [(&str, bool, &str); 20] = [
    ("name", false, "must be a string"),
    ("title", true, "must be a string or null"),
    ("host", false, "must be a string"),
    ("port", false, "must be a whole number from 1 to 65535"),
    ("kind", false, "must be one of monero-wallet-rpc, monerod, json-rpc, http"),
    ("rpc_method", true, "must be a string or null"),
    ("path", true, "must be a string or null"),
    ("expect_status", true, "must be a string such as \"200\" or null"),
    ("expect_field", true, "must be a string or null"),
    ("expect_value", true, "must be a string such as \"true\" or null"),
    ("tls", false, "must be one of off, verify, insecure"),
    ("username", true, "must be a string or null"),
    ("password", true, "must be a string or null"),
    ("daemon", true, "must be a string or null"),
    ("pid", true, "must be a whole number from 1 to 2147483647 or null"),
    ("pid_file", true, "must be a string or null"),
    ("process_name", true, "must be a string that is not empty or null"),
    ("available", false, "must be true or false"),
    ("instance", true, "must be the name of an instance, any or null"),
    ("maintenance_until", true, "must be a time of RFC 3339 such as 2030-01-31T18:00:00Z or null"),
];

/// Reads a body field by field, so that a fault names its field and a password is never repeated.
fn patch(map: Map<String, Value>) -> Result<NodePatch, Problem> {
    only(&map, &FIELDS.map(|(name, ..)| name))?;
    for (name, nullable, rule) in FIELDS {
        let Some(value) = map.get(name) else { continue };
        let alone = Map::from_iter([(name.to_owned(), value.clone())]);
        let fits = serde_json::from_value::<NodePatch>(alone.into()).is_ok();
        if !fits || (value.is_null() && !nullable) {
            return Err(Problem::field(name, rule));
        }
    }
    serde_json::from_value(map.into()).map_err(|error| super::request::invalid(error.to_string()))
}
