//! `/health` and `/nodes/{id}/health`: one atomic load, one clock read, a small prepared body. No database, no
//! probe, no Router, no authorisation, no CORS (its layer would answer every OPTIONS with 200).

use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::access::Caller;
use super::auth;
use super::error::{Problem, RETRY_AFTER_SECS};
use super::probes;
use super::query::Params;
use crate::clock;
use crate::config::HealthScope;
use crate::domain::Uptime;
use crate::domain::verdict::State;
use crate::snapshot::{Count, NodesPart, Tally};

/// The methods that health routes answer.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Values of `?scope=`.
pub const SCOPES: [&str; 2] = ["instance", "fleet"];

/// Said beside a total of 0 while other instances have nodes.
pub const NO_NODES_HERE: &str = "no_nodes_here";

/// How many nodes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `degraded`, `stale` or `draining`.
    #[schema(value_type = super::openapi::words::HealthStatus, example = "healthy")]
    pub status: &'static str,
    /// Of the nodes that count, those that are up now.
    pub working: u64,
    /// Available nodes of the scope.
    pub total: u64,
    /// Why the total is 0: other instances have them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::openapi::words::HealthNote>)]
    pub note: Option<&'static str>,
}

/// One node, for a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeHealth {
    /// `healthy`, `degraded` or `stale`.
    #[schema(value_type = super::openapi::words::HealthStatus, example = "healthy")]
    pub status: &'static str,
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it is now.
    #[schema(value_type = super::openapi::words::NodeState, example = "up")]
    pub state: &'static str,
    /// Why.
    #[schema(value_type = Option<super::openapi::words::NodeReason>)]
    pub reason: Option<&'static str>,
}

/// The counts of one snapshot, with the answers that they lead to.
#[derive(Debug)]
pub struct Counts {
    calm: (StatusCode, Bytes),
    draining: Bytes,
}

/// The answer of a health route, or `None` if this is none. `path` is without its base path; `reader` is who asks, to
/// whom `/readyz` may tell more than counts.
pub fn answer(
    state: &AppState,
    reader: Option<(&Caller, &HeaderMap)>,
    method: &Method,
    path: &str,
    uri: &Uri,
) -> Option<Response<Full<Bytes>>> {
    let route = match path {
        "/health" => Route::Health,
        "/livez" => Route::Live,
        "/readyz" => Route::Ready,
        "/" | "" if method == Method::OPTIONS => Route::Health,
        _ => Route::Node(path.strip_prefix("/nodes/")?.strip_suffix("/health")?),
    };
    if matches!(route, Route::Node(id) if id.is_empty() || id.contains('/')) {
        return None;
    }
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let detail = format!("{method} is not allowed here");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        return Some(refused(problem.header(header::ALLOW, ALLOW)));
    }
    let params = Params::parse(uri.query());
    let result = match route {
        Route::Health => health(state, &params),
        Route::Live => Ok(probes::live(state, clock::uptime())),
        Route::Ready => {
            let is_reader =
                |(caller, headers)| auth::may_read(state, Some(caller), headers).is_ok();
            probes::ready(state, &params, || reader.is_some_and(is_reader))
        }
        Route::Node(id) => node(state, id),
    };
    let mut response = result.map_or_else(refused, |(status, body)| reply(status, body));
    if *method == Method::OPTIONS {
        response.headers_mut().insert(header::ALLOW, ALLOW);
    }
    Some(response)
}

/// The code and the body of a GET without parameters, where they are in memory.
pub fn plain(state: &AppState, path: &str, up: Uptime) -> Option<(StatusCode, Bytes)> {
    match path {
        "/health" => Some(now(state, state.settings().health.scope, up)),
        "/livez" => Some(probes::live(state, up)),
        _ => None,
    }
}

enum Route<'a> {
    Health,
    Live,
    Ready,
    Node(&'a str),
}

fn health(state: &AppState, params: &Params) -> Result<(StatusCode, Bytes), Problem> {
    let scope = match params.word("scope", &SCOPES)? {
        Some(word) if word == SCOPES[1] => HealthScope::Fleet,
        Some(_) => HealthScope::Instance,
        None => state.settings().health.scope,
    };
    Ok(now(state, scope, clock::uptime()))
}

fn now(state: &AppState, scope: HealthScope, up: Uptime) -> (StatusCode, Bytes) {
    let snapshot = state.0.parts.published.load();
    let part = &snapshot.nodes;
    let counts =
        state.0.health[scope as usize].get(part.generation, up, || count(state, part, scope, up));
    if state.draining() {
        (StatusCode::SERVICE_UNAVAILABLE, counts.draining.clone())
    } else {
        counts.calm.clone()
    }
}

fn count(state: &AppState, part: &NodesPart, scope: HealthScope, now: Uptime) -> (Counts, Uptime) {
    let Tally { mine, fleet, until } = part.tally(now);
    let Count { working, total } = if scope == HealthScope::Instance { mine } else { fleet };
    let note = (total == 0 && fleet.total > 0).then_some(NO_NODES_HERE);
    let status = if now > part.valid_until {
        "stale"
    } else if state.settings().health.min_working.is_met(working, total) {
        "healthy"
    } else {
        "degraded"
    };
    let code = if status == "healthy" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let calm = (code, json(&Health { status, working, total, note }));
    let draining = json(&Health { status: "draining", working, total, note });
    (Counts { calm, draining }, until)
}

fn node(state: &AppState, id: &str) -> Result<(StatusCode, Bytes), Problem> {
    let unknown = || Problem::not_found(format!("no node '{id}'"));
    let id = percent_decode_str(id).decode_utf8().map_err(|_| unknown())?;
    let snapshot = state.0.parts.published.load();
    let part = &snapshot.nodes;
    let view = part.find(&id).ok_or_else(unknown)?;
    let now = part.state_of(view, clock::uptime());
    let (code, status) = match now {
        State::Up => (StatusCode::OK, "healthy"),
        State::Stale => (StatusCode::SERVICE_UNAVAILABLE, "stale"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let body = NodeHealth {
        status,
        id: view.node.id,
        name: view.node.name.clone(),
        state: now.as_str(),
        reason: view.reason().map(crate::domain::observation::Reason::as_str),
    };
    Ok((code, json(&body)))
}

/// Compact JSON.
pub fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).unwrap_or_default().into()
}

fn reply(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
    }
    response
}

fn refused(problem: Problem) -> Response<Full<Bytes>> {
    let body = json(&problem);
    problem.into_response().map(|_| Full::new(body))
}
