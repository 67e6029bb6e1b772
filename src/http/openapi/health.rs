//! The health routes, which no handler of the Router answers.

#![allow(dead_code)] // These functions exist for their attributes only.

use super::{NodePath, ReadyQuery, ScopeQuery};
use crate::http::health::{Health, NodeHealth};
use crate::http::probes::{Liveness, Readiness};

/// Do enough nodes work?
///
/// Counted are the nodes that this instance answers for, or those of all (`scope`). Where it answers for none while
/// others do, the total is 0 and `note` says so. `health.min_working` of the configuration says how many are enough. `OPTIONS /` is the same, for HAProxy's
/// bare `option httpchk`.
#[utoipa::path(
    get, path = "/health", tag = "health", params(ScopeQuery),
    responses(
        (status = 200, description = "`healthy`", body = Health),
        (status = 400, response = super::BadRequest),
        (status = 405, response = super::MethodNotAllowed),
        (status = 503, description = "`degraded`, `stale` or `draining`", body = Health,
            headers(("Retry-After" = String))),
    ),
)]
pub(super) fn health() {}

/// The same without a body
#[utoipa::path(
    head, path = "/health", tag = "health", params(ScopeQuery),
    responses(
        (status = 200, description = "`healthy`"),
        (status = 400, response = super::BadRequest),
        (status = 503, description = "`degraded`, `stale` or `draining`"),
    ),
)]
pub(super) fn health_head() {}

/// The same for probes that send OPTIONS
#[utoipa::path(
    options, path = "/health", tag = "health", params(ScopeQuery),
    responses(
        (status = 200, description = "`healthy`", body = Health),
        (status = 400, response = super::BadRequest),
        (status = 503, description = "`degraded`, `stale` or `draining`", body = Health),
    ),
)]
pub(super) fn health_options() {}

/// Does this node work?
#[utoipa::path(
    get, path = "/nodes/{id}/health", tag = "health", params(NodePath),
    responses(
        (status = 200, description = "It is up", body = NodeHealth),
        (status = 404, response = super::NotFound),
        (status = 405, response = super::MethodNotAllowed),
        (status = 503, description = "It is not", body = NodeHealth, headers(("Retry-After" = String))),
    ),
)]
pub(super) fn node_health() {}

/// Do the loops turn?
///
/// Pays no attention to a stop that is under way.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses(
        (status = 200, description = "They do", body = Liveness),
        (status = 405, response = super::MethodNotAllowed),
        (status = 503, description = "One hangs", body = Liveness),
    ),
)]
pub(super) fn livez() {}

/// May requests be sent here?
///
/// A lost database is `degraded` and still 200, since reads are answered from memory; `require=database` makes
/// it 503.
#[utoipa::path(
    get, path = "/readyz", tag = "health", params(ReadyQuery),
    responses(
        (status = 200, description = "They may", body = Readiness),
        (status = 400, response = super::BadRequest),
        (status = 405, response = super::MethodNotAllowed),
        (status = 503, description = "Not now", body = Readiness, headers(("Retry-After" = String))),
    ),
)]
pub(super) fn readyz() {}
