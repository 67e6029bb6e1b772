//! Which path leads where, and what stands before every handler.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http_body_util::{Either, Full};
use tower::ServiceExt as _;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::trace::{
    DefaultMakeSpan, DefaultOnFailure, DefaultOnRequest, DefaultOnResponse, TraceLayer,
};
use tracing::Level;

use super::access::Caller;
use super::error::Problem;
use super::{
    AppState, adopt, dashboard, events, health, history, instances, metrics, migration_process,
    migration_writes, migrations, node_status, nodes, nodes_status, openapi, session,
};

/// What an answer consists of: the prepared bytes of a health route, or what a handler made.
pub type Answer = Response<Either<Full<Bytes>, Body>>;

/// The base path that was taken off a request's path, for links.
#[derive(Debug, Clone, Default)]
pub struct Base(pub String);

/// Every route but the health routes, without base paths.
pub fn router(state: AppState) -> Router {
    let cors = cors(&state.settings().server.cors_origins);
    let router = Router::new()
        .route("/", get(dashboard::page))
        .route("/web/{name}", get(dashboard::part))
        .route("/session", post(session::open).delete(session::close))
        .route("/nodes/status", get(nodes_status::get))
        .route("/nodes/{id}/status", get(node_status::get))
        .route("/nodes", get(nodes::list).post(nodes::create))
        .route("/nodes/{id}", get(nodes::get).patch(nodes::update).delete(nodes::remove))
        .route("/nodes/{id}/history", get(history::node))
        .route("/instances", get(instances::list))
        .route("/events", get(events::get))
        .route("/metrics", get(metrics::get))
        .route("/adopt/report", get(adopt::get))
        .route("/migrations", get(migrations::list))
        .route("/migrations/{id}", get(migrations::get).patch(migration_writes::report))
        .route("/migrations/{id}/status", get(migrations::status))
        .route("/migrations/{id}/history", get(history::migration))
        .route("/migrations/{id}/process", get(migration_process::get))
        .route("/migrations/{id}/lock", delete(migration_writes::take_lock))
        .route("/openapi.yaml", get(openapi::get))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(state);
    let router = if let Some(cors) = cors { router.layer(cors) } else { router };
    router.layer(
        TraceLayer::new_for_http()
            .make_span_with(DefaultMakeSpan::new().level(Level::DEBUG))
            .on_request(DefaultOnRequest::new().level(Level::DEBUG))
            .on_response(DefaultOnResponse::new().level(Level::DEBUG))
            .on_failure(DefaultOnFailure::new().level(Level::DEBUG)),
    )
}

/// The answer to a request that needs nothing but what is in memory; `None` for all others, which [`answer`] has.
pub fn at_once<B>(state: &AppState, caller: &Caller, request: &Request<B>) -> Option<Answer> {
    let (method, uri) = (request.method(), request.uri());
    let path = uri.path();
    if path == "/health" || path == "/livez" {
        return health::answer(state, None, method, path, uri)
            .map(|response| response.map(Either::Left));
    }
    let is_plain = || {
        uri.query().is_none()
            && (method == Method::GET || method == Method::HEAD)
            && state.settings().server.cors_origins.is_empty()
            && caller.reads_freely(request.headers())
            && !caller.is_counted(request.headers())
    };
    let response = match path {
        "/nodes/status" if is_plain() => nodes_status::ready(state, request.headers())?,
        "/migrations" if is_plain() => migrations::ready(state, request.headers())?,
        _ => return None,
    };
    Some(response.map(|body| Either::Left(Full::new(body))))
}

/// Answers a request: the base path goes, the health routes come first, the Router has the rest.
pub async fn answer(
    state: &AppState,
    router: &Router,
    caller: &Caller,
    mut request: Request<Body>,
) -> Answer {
    let base = base_of(&state.settings().server.base_paths, request.uri().path());
    let path = &request.uri().path()[base.len()..];
    let reader = Some((caller, request.headers()));
    if let Some(response) = health::answer(state, reader, request.method(), path, request.uri()) {
        return response.map(Either::Left);
    }
    if let Err(problem) = state.0.limits.count(caller, request.headers()) {
        return problem.into_response().map(Either::Right);
    }
    if !base.is_empty() {
        let base = base.to_owned();
        if base.len() == request.uri().path().len()
            && matches!(*request.method(), Method::GET | Method::HEAD)
            && let Some(response) = dashboard::with_slash(&base)
        {
            return response.map(Either::Right);
        }
        match without(&base, request.uri()) {
            Some(uri) => *request.uri_mut() = uri,
            None => return unknown_path(request.uri()).into_response().map(Either::Right),
        }
        request.extensions_mut().insert(Base(base));
    }
    request.extensions_mut().insert(*caller);
    let Ok(response) = router.clone().oneshot(request).await;
    response.map(Either::Right)
}

/// The configured base path that this path begins with, or nothing; the longest counts.
fn base_of<'a>(bases: &'a [String], path: &str) -> &'a str {
    let fits = |base: &&str| {
        path.strip_prefix(*base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let bases = bases.iter().map(|base| base.trim_end_matches('/'));
    bases.filter(fits).max_by_key(|base| base.len()).unwrap_or_default()
}

fn without(base: &str, uri: &Uri) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().get(base.len()..)?;
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    rest.parse().ok()
}

async fn unknown(uri: Uri) -> Problem {
    unknown_path(&uri)
}

fn unknown_path(uri: &Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        format!("there is nothing at {}", uri.path()),
    )
}

async fn not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not allowed at {}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Off without origins. `X-Dashboard-Session` is what the migration dashboard sends instead of a token.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    Some(
        CorsLayer::new()
            .allow_origin(origin)
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_NONE_MATCH,
                HeaderName::from_static("x-dashboard-session"),
                HeaderName::from_static("last-event-id"),
            ])
            .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER]),
    )
}
