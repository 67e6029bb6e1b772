//! `/livez` and `/readyz`: do the loops turn, and may requests be sent here?

use axum::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::error::Problem;
use super::health::json;
use super::query::Params;
use crate::clock;
use crate::domain::Uptime;
use crate::events::{Hub, Source, Watch};
use crate::gauges::Loop;

/// Values of `?exclude=`.
pub const COMPONENTS: [&str; 4] = ["nodes", "migrations", "database", "server"];

/// Values of `?require=`.
pub const REQUIRABLE: [&str; 1] = ["database"];

/// Whether the loops turn.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Liveness {
    /// `ok` or `stale`.
    #[schema(value_type = super::openapi::words::LiveStatus, example = "ok")]
    pub status: &'static str,
}

/// Whether requests may be sent here.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`, `degraded` (still 200), `not_ready` or `draining`.
    #[schema(value_type = super::openapi::words::ReadyStatus, example = "ready")]
    pub status: &'static str,
    /// With `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<Components>,
}

/// What readiness is made of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Components {
    /// `ok`, `unpublished` or `stale`.
    #[schema(value_type = super::openapi::words::ComponentStatus, example = "ok")]
    pub nodes: &'static str,
    /// `ok`, `unpublished`, `stale`, `degraded` (the directory cannot be read) or `off`.
    #[schema(value_type = super::openapi::words::ComponentStatus, example = "ok")]
    pub migrations: &'static str,
    /// Why the lock directory cannot be read, with the likely cause; said only to who may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations_trouble: Option<String>,
    /// `ok` or `degraded`.
    #[schema(value_type = super::openapi::words::ComponentStatus, example = "ok")]
    pub database: &'static str,
    /// `ok`, `polling` (not of all: what is not told is found by looking, at each interval) or `off`.
    #[schema(value_type = super::openapi::words::EventsStatus, example = "ok")]
    pub events: &'static str,
    /// Of what the kernel does not tell, and why; said only to who may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_trouble: Option<String>,
    /// By how much the node loop came late to what was due, at worst in the last minute or two, in milliseconds.
    pub nodes_lag_ms: u64,
    /// The same of the loop of migrations; 0 where there is none.
    pub migrations_lag_ms: u64,
    /// `ok`, `failing` (what is to be told waits, and was tried) or `off` (nobody is to be told).
    #[schema(value_type = super::openapi::words::AlertsStatus, example = "off")]
    pub alerts: &'static str,
    /// What waits, since when, and why; said only to who may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts_trouble: Option<String>,
    /// `ok` or `draining`.
    #[schema(value_type = super::openapi::words::ComponentStatus, example = "ok")]
    pub server: &'static str,
}

/// 200 while every published part is within its time.
pub fn live(state: &AppState, now: Uptime) -> (StatusCode, Bytes) {
    let snapshot = state.0.parts.published.load();
    let migrations =
        state.migrations().is_none() || turns(part(snapshot.migrations.valid_until, now));
    if turns(part(snapshot.nodes.valid_until, now)) && migrations {
        (StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(br#"{"status":"stale"}"#))
    }
}

/// 200 while requests are answered with the truth, a lost database included: it is told from memory.
pub fn ready(
    state: &AppState,
    params: &Params,
    may_read: impl FnOnce() -> bool,
) -> Result<(StatusCode, Bytes), Problem> {
    let verbose = params.flag("verbose")?;
    let excluded = params.words("exclude", &COMPONENTS)?;
    let database_required = !params.words("require", &REQUIRABLE)?.is_empty();
    let seen = look(state, verbose && may_read());
    let counts = |name| !excluded.contains(&name);
    let stopped = (counts("nodes") && !turns(seen.nodes))
        || (counts("migrations") && !turns(seen.migrations))
        || (database_required && counts("database") && seen.database != "ok");
    let degraded = (counts("database") && seen.database != "ok")
        || (counts("migrations") && seen.migrations == "degraded");
    let status = match (counts("server") && seen.server != "ok", stopped, degraded) {
        (true, ..) => "draining",
        (_, true, _) => "not_ready",
        (_, _, true) => "degraded",
        _ => "ready",
    };
    let good = matches!(status, "ready" | "degraded");
    let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, json(&Readiness { status, components: verbose.then_some(seen) })))
}

fn turns(component: &str) -> bool {
    !matches!(component, "unpublished" | "stale")
}

fn look(state: &AppState, tells_all: bool) -> Components {
    let snapshot = state.0.parts.published.load();
    let (both, gauges) = (clock::now(), &state.0.parts.gauges);
    let now = both.up;
    let migrations = &snapshot.migrations;
    // This route asks for no token, and the text names paths and processes.
    let (events, events_trouble) = watches(&state.0.parts.events);
    let (alerts, alerts_trouble) = alerts(state);
    Components {
        nodes: part(snapshot.nodes.valid_until, now),
        migrations: match (state.migrations(), part(migrations.valid_until, now)) {
            // What is recorded of them is still told, once it was read.
            (None, "unpublished") => "unpublished",
            (None, _) => "off",
            (_, "ok") if migrations.trouble.is_some() => "degraded",
            (_, seen) => seen,
        },
        migrations_trouble: migrations.trouble.clone().filter(|_| tells_all),
        events,
        events_trouble: events_trouble.filter(|_| tells_all),
        alerts,
        alerts_trouble: alerts_trouble.filter(|_| tells_all),
        database: if state.store_trouble() { "degraded" } else { "ok" },
        nodes_lag_ms: gauges.lag_ms(Loop::Nodes, both),
        migrations_lag_ms: state.migrations().map_or(0, |_| gauges.lag_ms(Loop::Migrations, both)),
        server: if state.draining() { "draining" } else { "ok" },
    }
}

/// Whether alerts get through; where not, what waits.
fn alerts(state: &AppState) -> (&'static str, Option<String>) {
    let channels = state.settings().alerts.channels();
    if channels.is_empty() {
        return ("off", None);
    }
    let senders = state.0.parts.gauges.alerts();
    let troubles: Vec<_> = channels.iter().filter_map(|it| senders.of(*it).trouble(*it)).collect();
    if troubles.is_empty() { ("ok", None) } else { ("failing", Some(troubles.join("; "))) }
}

/// Whether the kernel tells us of all that is watched; where not, of what and why.
fn watches(hub: &Hub) -> (&'static str, Option<String>) {
    let watches = Source::ALL.map(|source| (source, hub.watch(source)));
    let troubles: Vec<_> = watches
        .iter()
        .filter_map(|(source, watch)| match watch {
            Watch::Polling(why) => Some(format!("{}: {why}", source.as_str())),
            Watch::On | Watch::Off => None,
        })
        .collect();
    if !troubles.is_empty() {
        return ("polling", Some(troubles.join("; ")));
    }
    let on = watches.iter().any(|(_, watch)| *watch == Watch::On);
    (if on { "ok" } else { "off" }, None)
}

fn part(valid_until: Uptime, now: Uptime) -> &'static str {
    if valid_until == Uptime::default() {
        "unpublished"
    } else if now > valid_until {
        "stale"
    } else {
        "ok"
    }
}
