//! HTTP: the accept loop, the health routes before it, and one file per resource.
//!
//! Nothing here judges and nothing writes a verdict: reads come from the snapshot or from a look at the
//! processes, writes go to the registry or to the migration reconciler.

mod access;
mod adopt;
mod auth;
#[cfg(feature = "bench")]
pub mod bench;
mod bodies;
mod connection;
mod dashboard;
mod encodings;
mod error;
mod event_filter;
mod event_frames;
mod event_listener;
mod events;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod glance;
mod health;
mod history;
mod house;
mod instances;
mod limits;
mod lists;
mod metrics;
mod migration_bodies;
mod migration_process;
mod migration_record;
mod migration_writes;
mod migrations;
mod node_status;
mod nodes;
mod nodes_status;
mod openapi;
mod probes;
mod query;
mod request;
mod router;
mod server;
mod session;
mod stall;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_fleet;
#[cfg(test)]
mod tests_migrations;
#[cfg(test)]
mod tests_nodes;
mod threads;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checker::Checker;
use crate::config::Settings;
use crate::domain::access::Doors;
use crate::events::Hub;
use crate::gauges::Gauges;
use crate::reconciler::{migrations as migration_reconciler, nodes as node_reconciler};
use crate::registry::Registry;
use crate::snapshot::{Published, Snapshot};
use crate::store::Store;

pub use adopt::{Report as AdoptReport, report as adopt_report};
pub use history::{
    Period as HistoryPeriod, migration_body as migration_history_body,
    node_body as node_history_body,
};
pub(crate) use instances::body as instance_shape;
pub(crate) use migration_bodies::list_row as migration_shape;
pub(crate) use migration_process::predicate as predicate_shape;
pub(crate) use node_status::recorded as node_status_shape;
pub(crate) use nodes::body as node_shape;
pub(crate) use nodes_status::recorded_row as node_row_shape;
pub use openapi::{OPENAPI, described};
pub use server::serve;
pub use threads::Threads;
pub(crate) use told::Told;

/// What the server works with.
#[derive(Debug)]
pub struct Parts {
    /// The truth that reads are answered from.
    pub published: Arc<Published>,
    /// Looks at nodes now.
    pub checker: Checker,
    /// The database.
    pub store: Store,
    /// Edits nodes.
    pub registry: Registry,
    /// Checks a node that a live look found otherwise.
    pub nodes: node_reconciler::Handle,
    /// Migrations; `None` while no lock directory is configured.
    pub migrations: Option<migration_reconciler::Handle>,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Set when the process is about to stop.
    pub draining: Arc<AtomicBool>,
    /// Set by the reconcilers while the database fails.
    pub store_trouble: Arc<AtomicBool>,
    /// What happens, as it happens.
    pub events: Hub,
    /// What the loops keep of themselves.
    pub gauges: Gauges,
}

/// What every request can reach; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    doors: Doors,
    limits: limits::Limits,
    /// One per scope.
    health: [lists::Cache<health::Counts>; 2],
    nodes_status: nodes_status::List,
    migrations: migrations::List,
    runs: nodes_status::Runs,
    streams: events::Streams,
    dashboard: dashboard::Dashboard,
}

impl AppState {
    /// Takes the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            doors: access::doors(&parts.settings),
            limits: limits::Limits::new(parts.settings.server.rate),
            parts,
            health: Default::default(),
            nodes_status: nodes_status::List::default(),
            migrations: migrations::List::default(),
            runs: nodes_status::Runs::default(),
            streams: events::Streams::default(),
            dashboard: dashboard::Dashboard::default(),
        }))
    }

    /// The registry that writes go to.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.parts.registry
    }

    fn settings(&self) -> &Settings {
        &self.0.parts.settings
    }

    /// The database.
    fn store(&self) -> &Store {
        &self.0.parts.store
    }

    /// This instance's name.
    fn here(&self) -> &str {
        &self.settings().instance.name
    }

    /// The last published truth, to be held across awaits.
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.parts.published.load())
    }

    fn draining(&self) -> bool {
        self.0.parts.draining.load(Ordering::Relaxed)
    }

    fn store_trouble(&self) -> bool {
        self.0.parts.store_trouble.load(Ordering::Relaxed)
    }

    /// The migration reconciler.
    fn migrations(&self) -> Option<&migration_reconciler::Handle> {
        self.0.parts.migrations.as_ref()
    }
}
