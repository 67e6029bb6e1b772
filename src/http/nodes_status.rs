//! `GET /nodes/status`: every available node, from the snapshot, or checked now.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _, Shared, WeakShared};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use super::bodies::Prepared;
use super::error::Problem;
use super::limits::Work;
use super::lists::{self, Rows, heavy};
use super::query::Params;
use super::told::Told;
use crate::checker::Checked;
use crate::clock;
use crate::domain::details::find;
use crate::domain::observation::Reason;
use crate::domain::verdict::{State as NodeState, weigh};
use crate::domain::{Method, Observation, Timestamp, Uptime};
use crate::snapshot::{NodeView, NodesPart};

/// A check of all nodes ends after this, whatever it has reached.
const RUN_TIME: Duration = Duration::from_secs(10);

/// All available nodes.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodesStatus<'a> {
    /// Available nodes.
    pub total: usize,
    /// Those that are up now.
    pub working: usize,
    /// `total - working`.
    pub failed: usize,
    /// One each, by id.
    pub nodes: Vec<NodeStatusRow<'a>>,
}

/// One node of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeStatusRow<'a> {
    /// Never reused.
    pub id: i64,
    /// Unique.
    #[schema(value_type = String, example = "main-node")]
    pub name: &'a str,
    /// Whether it is up now.
    pub status: bool,
    /// Of the last look.
    #[schema(value_type = String, example = "API is responding")]
    pub message: Cow<'a, str>,
    /// What it is now.
    #[schema(value_type = super::openapi::words::NodeState, example = "up")]
    pub state: &'static str,
    /// Why; may stand beside a node that works.
    #[schema(value_type = Option<super::openapi::words::NodeReason>)]
    pub reason: Option<&'static str>,
    /// How it was looked at last.
    #[schema(value_type = Option<super::openapi::words::NodeMethod>, example = "api")]
    pub method: Option<&'static str>,
    /// When it was looked at last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_check: Option<Timestamp>,
    /// The last change of `state`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Of the last look; null if no answer came.
    pub latency_ms: Option<u32>,
    /// Whether it was looked at for this request.
    pub live: bool,
}

/// Every available node
///
/// Of all instances, from the last published snapshot. With `method` the nodes that this instance answers for are
/// checked now: one such run per method at a time, which others join; it ends after 10 s. Nodes not reached by then,
/// and those of other instances, are shown from the record with `live: false`. A node whose instance was forgotten is
/// left out until another one takes it.
#[utoipa::path(
    get, path = "/nodes/status", tag = "nodes", operation_id = "nodes_status",
    params(super::openapi::MethodQuery, super::openapi::IfNoneMatch),
    responses(
        (status = 200, description = "All available nodes", body = NodesStatus,
            headers(("ETag" = String), ("Vary" = String), ("Cache-Control" = String))),
        (status = 304, description = "The client has this already"),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
    ),
)]
pub async fn get(
    _: MayRead,
    State(state): State<AppState>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let Some(method) = params.method()? else {
        let part = Arc::clone(&state.snapshot().nodes);
        let (now, state) = (clock::now().up, state.clone());
        let list = &state.0.nodes_status;
        let (generation, count, here) =
            (part.generation, part.nodes.len(), state.here().to_owned());
        let make = move |rows: &mut _| (recorded(rows, &part, &here, now), part.tally(now).until);
        let body = list.get(generation, now, count, make).await?;
        return Ok(body.respond(&headers).await.map(Body::from));
    };
    let _work = Work::begin(&state)?;
    let seen = state.0.runs.join(&state, method).await;
    let part = Arc::clone(&state.snapshot().nodes);
    let (count, now) = (part.nodes.len(), clock::now().up);
    let here = state.here().to_owned();
    let body = heavy(count, move || render(&part, &seen, &here, now)).await?;
    Ok(body.respond(&headers).await.map(Body::from))
}

/// The answer without a look, where all that it needs is there already: the list is made, and packed as it is wanted.
pub fn ready(state: &AppState, headers: &HeaderMap) -> Option<Response<Bytes>> {
    let generation = state.0.parts.published.load().nodes.generation;
    state.0.nodes_status.held(generation, clock::uptime())?.respond_now(headers)
}

/// The list of the record, made from the last one.
pub type List = lists::List<NodeView, NodeState>;

fn recorded(
    rows: &mut Rows<NodeView, NodeState>,
    part: &NodesPart,
    here: &str,
    now: Uptime,
) -> Prepared {
    let counted = || part.nodes.iter().filter(|view| view.is_counted());
    let states: Vec<_> = counted().map(|view| part.state_of(view, now)).collect();
    let total = states.len();
    let working = states.iter().filter(|state| **state == NodeState::Up).count();
    let before =
        format!(r#"{{"total":{total},"working":{working},"failed":{},"nodes":["#, total - working);
    let views = counted().zip(states).map(|(view, state)| (view.node.id, Arc::clone(view), state));
    rows.write(&before, views, "]}", |view, state, out| {
        let row = recorded_row(view, Told::in_state(view, *state, here));
        // Into memory nothing fails.
        let _ = serde_json::to_writer(out, &row);
    })
}

pub(super) fn render(
    part: &NodesPart,
    seen: &HashMap<i64, Checked>,
    here: &str,
    now: Uptime,
) -> Prepared {
    let views = part.nodes.iter().filter(|view| view.is_counted());
    let nodes: Vec<_> = views
        .map(|view| match seen.get(&view.node.id) {
            Some(checked) => live_row(view, checked),
            None => recorded_row(view, Told::of(part, view, here, now)),
        })
        .collect();
    let (total, working) = (nodes.len(), nodes.iter().filter(|row| row.status).count());
    let body = NodesStatus { total, working, failed: total - working, nodes };
    Prepared::new(serde_json::to_vec(&body).unwrap_or_default())
}

/// A node that is not looked at, told so.
pub fn recorded_row<'a>(view: &'a NodeView, told: Told<'a>) -> NodeStatusRow<'a> {
    let verdict = &view.verdict;
    NodeStatusRow {
        id: view.node.id,
        name: &view.node.name,
        status: told.is_up(),
        state: told.state.as_str(),
        reason: told.reason.map(Reason::as_str),
        message: told.message,
        method: verdict.method.map(Method::as_str),
        last_check: verdict.checked_at,
        since: verdict.since,
        latency_ms: verdict.latency_ms,
        live: false,
    }
}

fn live_row<'a>(view: &'a NodeView, checked: &Checked) -> NodeStatusRow<'a> {
    let found = find(&checked.observation);
    let latency = checked.observation.latency();
    NodeStatusRow {
        id: view.node.id,
        name: &view.node.name,
        status: found.is_up(),
        message: found.message,
        state: seen_state(&checked.observation).as_str(),
        reason: found.reason.map(Reason::as_str),
        method: Some(checked.observation.method().as_str()),
        last_check: Some(checked.at.wall),
        since: view.verdict.since,
        latency_ms: latency.map(|it| u32::try_from(it.as_millis()).unwrap_or(u32::MAX)),
        live: true,
    }
}

/// What this look alone says.
pub fn seen_state(observation: &Observation) -> NodeState {
    match find(observation).works {
        Some(true) => NodeState::Up,
        Some(false) => NodeState::Down,
        None => NodeState::Unknown,
    }
}

/// A live look, with what the looks before say about it.
pub fn weighed(state: &AppState, view: &NodeView, checked: &Checked) -> Observation {
    let grace = state.settings().nodes.busy_grace;
    weigh(&checked.observation, &view.verdict, grace, checked.at).into_owned()
}

/// A live look that differs from the record wakes that node's scheduled check; it records nothing itself.
pub fn wake_if_other(state: &AppState, view: &NodeView, observation: &Observation) {
    let seen = seen_state(observation);
    let differs = seen != NodeState::Unknown && seen != view.verdict.state;
    if differs && view.node.available {
        state.0.parts.nodes.wake(view.node.id);
    }
}

type Seen = Arc<HashMap<i64, Checked>>;
type Run = BoxFuture<'static, Seen>;

/// The runs under way, one per method at most.
#[derive(Debug, Default)]
pub struct Runs([Mutex<Option<WeakShared<Run>>>; Method::ALL.len()]);

impl Runs {
    /// The result of the run of this method that is under way, or of a new one. It goes on while anybody waits.
    async fn join(&self, state: &AppState, method: Method) -> Seen {
        let run: Shared<Run> = {
            // A poisoned slot holds a run or none; both are good.
            let slot = &self.0[method as usize];
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let under_way = slot.as_ref().and_then(WeakShared::upgrade);
            under_way.filter(|run| run.peek().is_none()).unwrap_or_else(|| {
                let run = check_all(state.clone(), method).boxed().shared();
                *slot = run.downgrade();
                run
            })
        };
        run.await
    }
}

async fn check_all(state: AppState, method: Method) -> Seen {
    let ends = Instant::now() + RUN_TIME;
    let snapshot = state.snapshot();
    let concurrency = state.settings().nodes.concurrency.max(1);
    let mine = |view: &&Arc<NodeView>| view.node.available && view.is_mine();
    let views: Vec<_> = snapshot.nodes.nodes.iter().filter(mine).cloned().collect();
    let mut seen = HashMap::with_capacity(views.len());
    let checks = futures_util::stream::iter(views).map(|view| {
        let checker = &state.0.parts.checker;
        async move { (checker.live(&view.node, method).await, view) }
    });
    let mut checks = std::pin::pin!(checks.buffer_unordered(concurrency));
    while let Ok(Some((checked, view))) = tokio::time::timeout_at(ends, checks.next()).await {
        let observation = weighed(&state, &view, &checked);
        wake_if_other(&state, &view, &observation);
        seen.insert(view.node.id, Checked { observation, at: checked.at });
    }
    Arc::new(seen)
}
