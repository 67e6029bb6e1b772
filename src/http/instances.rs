//! `GET /instances`: who uses this database, by the heartbeats.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use crate::domain::Timestamp;
use crate::snapshot::InstanceView;

/// Values of `state`.
pub const STATES: [&str; 2] = ["live", "lost"];

/// An instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceBody {
    /// `instance.name`.
    #[schema(example = "host-1")]
    pub name: String,
    /// `live` while its last heartbeat holds, else `lost`.
    #[schema(value_type = super::openapi::words::InstanceState, example = "live")]
    pub state: &'static str,
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// When it started, by its own clock.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Its last heartbeat, by the database's clock.
    #[schema(value_type = String, format = DateTime)]
    pub last_beat: Timestamp,
    /// Nodes that it answers for.
    pub nodes: u64,
    /// Locks that it answers for.
    pub locks: u64,
    /// How long its last pass over the nodes took, in milliseconds.
    pub tick_ms: u64,
}

/// Every instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceList {
    /// By name.
    pub instances: Vec<InstanceBody>,
}

/// One instance; `live` where the view's own word on that is older than what is known.
pub fn body(view: &InstanceView, live: bool) -> InstanceBody {
    InstanceBody {
        name: view.name.clone(),
        state: STATES[usize::from(!live)],
        version: view.version.clone(),
        since: view.since,
        last_beat: view.last_beat,
        nodes: view.nodes,
        locks: view.locks,
        tick_ms: view.tick_ms,
    }
}

/// The instances that use this database
///
/// By name, as their heartbeats were read last. One that is lost is forgotten after `instances.forget_after`, or by
/// `procwarden instances forget`.
#[utoipa::path(
    get, path = "/instances", tag = "fleet", operation_id = "list_instances",
    responses(
        (status = 200, description = "All instances, by name", body = InstanceList),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 405, response = super::openapi::MethodNotAllowed),
    ),
)]
pub async fn list(_: MayRead, State(state): State<AppState>) -> Json<InstanceList> {
    let snapshot = state.snapshot();
    let fleet = &snapshot.fleet;
    // While the database is away this one's last beat is old, and it is there all the same.
    let instances = fleet.instances.iter().map(|view| body(view, fleet.is_live(&view.name)));
    Json(InstanceList { instances: instances.collect() })
}
