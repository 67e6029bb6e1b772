//! `/health` and `/nodes/{id}/health`: one atomic load, one clock read, a small prepared body. No database, no
//! probe, no Router, no authorisation, no CORS (its layer would answer every OPTIONS with 200).

use axum::http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::error::{Problem, RETRY_AFTER_SECS};
use super::probes;
use super::query::Params;
use crate::clock;
use crate::domain::Uptime;
use crate::domain::verdict::State;
use crate::snapshot::NodesPart;

/// The methods that health routes answer.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Values of `?scope=`.
pub const SCOPES: [&str; 2] = ["instance", "fleet"];

/// How many nodes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `degraded`, `stale` or `draining`.
    #[schema(value_type = super::openapi::words::HealthStatus, example = "healthy")]
    pub status: &'static str,
    /// Available nodes that are up now.
    pub working: u64,
    /// Available nodes.
    pub total: u64,
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

/// The answer of a health route, or `None` if this is none. `path` is without its base path.
pub fn answer(
    state: &AppState,
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
        Route::Live => Ok(probes::live(state)),
        Route::Ready => probes::ready(state, &params),
        Route::Node(id) => node(state, id),
    };
    Some(result.map_or_else(refused, |(status, body)| reply(status, body)))
}

enum Route<'a> {
    Health,
    Live,
    Ready,
    Node(&'a str),
}

fn health(state: &AppState, params: &Params) -> Result<(StatusCode, Bytes), Problem> {
    // One instance has one SQLite file, and every node in it is its own: both scopes count the same nodes.
    params.word("scope", &SCOPES)?;
    let snapshot = state.0.parts.published.load();
    let part = &snapshot.nodes;
    let now = clock::now().up;
    let counts = state.0.health.get(part.generation, now, || count(state, part, now));
    Ok(if state.draining() {
        (StatusCode::SERVICE_UNAVAILABLE, counts.draining.clone())
    } else {
        counts.calm.clone()
    })
}

fn count(state: &AppState, part: &NodesPart, now: Uptime) -> (Counts, Uptime) {
    let states = part.nodes.iter().map(|view| view_state(part, view, now));
    let (mut working, mut total) = (0, 0);
    for it in states.filter(|it| *it != State::Disabled) {
        total += 1;
        working += u64::from(it == State::Up);
    }
    let status = if now > part.valid_until {
        "stale"
    } else if state.settings().health.min_working.is_met(working, total) {
        "healthy"
    } else {
        "degraded"
    };
    let code = if status == "healthy" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let calm = (code, json(&Health { status, working, total }));
    let draining = json(&Health { status: "draining", working, total });
    (Counts { calm, draining }, holds_until(part, now))
}

/// The state of a node as readers are told: nothing in a snapshot past its time is believed.
pub fn view_state(part: &NodesPart, view: &crate::snapshot::NodeView, now: Uptime) -> State {
    match view.state(now, part.window) {
        State::Disabled => State::Disabled,
        _ if now > part.valid_until => State::Stale,
        state => state,
    }
}

/// Until when every state of this part reads as it does at `now`, unless another part is published.
pub fn holds_until(part: &NodesPart, now: Uptime) -> Uptime {
    if now > part.valid_until {
        return Uptime(i64::MAX);
    }
    let ends = part.nodes.iter().filter_map(|view| view.verdict.checked_up);
    let ends = ends.map(|checked| checked.plus(part.window)).filter(|end| *end >= now);
    ends.min().map_or(part.valid_until, |end| end.min(part.valid_until))
}

fn node(state: &AppState, id: &str) -> Result<(StatusCode, Bytes), Problem> {
    let unknown = || Problem::not_found(format!("no node '{id}'"));
    let id = percent_decode_str(id).decode_utf8().map_err(|_| unknown())?;
    let snapshot = state.0.parts.published.load();
    let part = &snapshot.nodes;
    let view = part.find(&id).ok_or_else(unknown)?;
    let now = view_state(part, view, clock::now().up);
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
        reason: view.verdict.reason.map(crate::domain::observation::Reason::as_str),
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
    headers.insert(header::ALLOW, ALLOW);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
    }
    response
}

fn refused(problem: Problem) -> Response<Full<Bytes>> {
    let body = json(&problem);
    problem.into_response().map(|_| Full::new(body))
}
