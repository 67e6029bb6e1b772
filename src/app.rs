//! The composition root: builds the parts, wires them, runs them until the end.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adopt::{self, AdoptError};
use crate::clock;
use crate::config::{NodeEntry, Settings};
use crate::discover;
use crate::events::{Hub, flips};
use crate::gauges::{Gauges, Loop};
use crate::history::prune;
use crate::http::{self, AppState};
use crate::locks::LockDir;
use crate::monitor::{Monitor, MonitorError};
use crate::notify;
use crate::process::{descriptor_limit, raise_descriptor_limit};
use crate::reconciler::{migrations, nodes};
use crate::registry::{Registry, RegistryError};
use crate::service_manager::ServiceManager;
use crate::shutdown::Shutdown;
use crate::snapshot::Published;
use crate::store::{Lease, LockHeld, Open, ServerLock, StoreError, sqlite_path};

/// Supervisors kill ten seconds after they asked (systemd's `TimeoutStopSec` in `deploy/`, supervisor's default), so
/// we are gone before.
const DEADLINE: Duration = Duration::from_secs(8);

/// Rereads the `[[node]]` entries and reopens the log; the error is for the log.
pub type Reread = Box<dyn Fn() -> Result<Vec<NodeEntry>, String> + Send>;

/// Why the service could not be built or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another server has this database.
    #[error(transparent)]
    Held(#[from] LockHeld),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parts that the library has too.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// A `[[node]]` cannot be registered.
    #[error("[[node]]: {0}")]
    Registry(#[from] RegistryError),
    /// The nodes of a table that is not ours.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The kernel gives no threads that answer.
    #[error("the threads that answer cannot be started")]
    Threads(#[source] io::Error),
    /// A task ended that never should.
    #[error("the {0} task ended by itself")]
    TaskDied(&'static str),
    /// A second signal.
    #[error("ended at once by a second signal")]
    Aborted,
    /// Something did not finish in time.
    #[error("not everything ended within {} s", DEADLINE.as_secs())]
    Deadline,
}

/// The service, built and bound, not yet running.
#[derive(Debug)]
pub struct App {
    settings: Arc<Settings>,
    monitor: Monitor,
    /// Their nodes.
    their_nodes: Option<adopt::Nodes>,
    /// Their table of migrations.
    their_migrations: Option<migrations::Adopted>,
    lease: Lease,
    listener: TcpListener,
    published: Arc<Published>,
    gauges: Gauges,
    manager: ServiceManager,
    /// Held until the process ends; a database on a server has its lease instead.
    _lock: Option<ServerLock>,
}

/// SQLite's file is one server's.
fn take_file(url: &str) -> Result<Option<ServerLock>, AppError> {
    let Some(path) = sqlite_path(url)? else { return Ok(None) };
    ServerLock::take(&path).map(Some).map_err(|held| match held {
        LockHeld::Io { source, .. } => AppError::Store(StoreError::unopenable(url, source)),
        held @ LockHeld::Held { .. } => AppError::Held(held),
    })
}

/// Listens, for a runtime that is not this one.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    tokio::net::TcpListener::bind(address).await?.into_std()
}

/// What was found of what is not adopted any more is over.
async fn end_findings(
    settings: &Settings,
    monitor: &Monitor,
    lease: &Lease,
) -> Result<(), StoreError> {
    let adopt = &settings.adopt;
    let (nodes, migrations) = (adopt.nodes().is_none(), adopt.migrations().is_none());
    let kinds = [("node:", nodes), ("migration:", migrations), ("table:", nodes && migrations)];
    for (kind, _) in kinds.into_iter().filter(|(_, is_over)| *is_over) {
        monitor.store().end_findings(&lease.name, kind, clock::now().wall.0).await?;
    }
    Ok(())
}

/// Their table of migrations, if one is adopted: it must be there, with its columns.
async fn their_migrations(
    settings: &Settings,
    monitor: &Monitor,
) -> Result<Option<migrations::Adopted>, StoreError> {
    let Some(table) = settings.adopt.migrations() else { return Ok(None) };
    let table = Arc::new(monitor.store().their_migrations(table).await?);
    tracing::info!(
        table = table.name(),
        mode = settings.adopt.mode.as_str(),
        "their migrations are adopted"
    );
    Ok(Some(migrations::Adopted { table, writes: settings.adopt.writes() }))
}

/// Its name, whether it was told to end, and how it ended.
type Ended = (&'static str, bool, Result<(), StoreError>);

type Tasks = JoinSet<Ended>;

impl App {
    /// Takes the database, brings its schema up to date, registers the configured nodes, and binds.
    ///
    /// # Errors
    /// [`AppError`]; nothing is bound then.
    pub async fn build(settings: Settings) -> Result<Self, AppError> {
        let lock = take_file(settings.database.url.expose())?;
        raise_descriptor_limit();
        let monitor = Monitor::open(&settings, Open::Create).await?;
        let lease = monitor.wait_for_lease().await?.clone();
        adopt::Nodes::end(monitor.registry(), &settings).await?;
        end_findings(&settings, &monitor, &lease).await?;
        monitor.registry().apply_config(&settings.node, settings.nodes.prune).await?;
        let their_nodes =
            Box::pin(adopt::Nodes::start(monitor.store(), monitor.registry(), &settings)).await?;
        let their_migrations = their_migrations(&settings, &monitor).await?;
        let address = settings.server.listen;
        let listener =
            listen(address).await.map_err(|source| AppError::Bind { address, source })?;
        Ok(Self {
            settings: Arc::new(settings),
            monitor,
            their_nodes,
            their_migrations,
            lease,
            listener,
            published: Arc::default(),
            gauges: Gauges::default(),
            manager: ServiceManager::default(),
            _lock: lock,
        })
    }

    /// The same, telling whoever started us how we are.
    #[must_use]
    pub fn told_to(self, manager: ServiceManager) -> Self {
        Self { manager, ..self }
    }

    /// The address that is listened on; the port is the real one where 0 was asked for.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Runs until told to end, then drains and finishes what is under way.
    ///
    /// # Errors
    /// [`AppError::TaskDied`], [`AppError::Aborted`], [`AppError::Deadline`].
    pub async fn run(mut self, mut shutdown: Shutdown, reread: Reread) -> Result<(), AppError> {
        // First, so that it is dropped last: the store may have opened connections on these threads.
        let threads = http::Threads::start().map_err(AppError::Threads)?;
        let stop = CancellationToken::new();
        let draining = Arc::new(AtomicBool::new(false));
        let mut tasks = Tasks::new();
        let (state, registry) = self.spawn_reconcilers(&mut tasks, &stop, &draining);
        self.follow_for_manager(&mut tasks, &stop);
        if self.settings.nodes.discover {
            let (processes, registry) = (self.monitor.processes().clone(), registry.clone());
            let token = stop.clone();
            spawn(&mut tasks, "discovery", &stop, async move {
                discover::run(processes, registry, token).await;
                Ok(())
            });
        }
        let most = places(self.settings.server.max_connections);
        let served = threads.spawn(http::serve(self.listener, state, most, stop.clone()));
        spawn(&mut tasks, "http", &stop, async move {
            if let Err(error) = served.await.map_err(io::Error::other).flatten() {
                tracing::error!(%error, "the HTTP server failed");
            }
            Ok(())
        });
        loop {
            tokio::select! {
                () = shutdown.soft.cancelled() => break,
                Some(()) = shutdown.hangups.recv() => match reread() {
                    Ok(entries) => {
                        let done = registry.apply_config(&entries, self.settings.nodes.prune).await;
                        match done {
                            Ok(()) => tracing::info!(nodes = entries.len(), "configuration read again"),
                            Err(error) => tracing::error!(%error, "the nodes of the configuration"),
                        }
                    }
                    Err(error) => tracing::error!(error, "configuration not read again; the old one stays"),
                },
                Some(ended) = tasks.join_next() => return Err(died(ended)),
            }
        }
        draining.store(true, Ordering::Relaxed);
        self.manager.stopping();
        let finish = async {
            // Load balancers see 503 before connections are refused.
            tokio::time::sleep(self.settings.server.drain).await;
            stop.cancel();
            while tasks.join_next().await.is_some() {}
            self.monitor.close().await;
        };
        tokio::select! {
            () = finish => Ok(()),
            () = shutdown.hard.cancelled() => Err(AppError::Aborted),
            () = tokio::time::sleep(DEADLINE) => Err(AppError::Deadline),
        }
    }

    fn follow_for_manager(&self, tasks: &mut Tasks, stop: &CancellationToken) {
        if !self.manager.is_there() {
            return;
        }
        let watches = self.settings.migrations.lock_dir.is_some();
        let loops = [Some(Loop::Nodes), watches.then_some(Loop::Migrations)];
        let (published, gauges) = (Arc::clone(&self.published), self.gauges.clone());
        let loops = loops.into_iter().flatten().collect();
        let follow = self.manager.clone().follow(published, gauges, loops, stop.clone());
        spawn(tasks, "service manager", stop, async move {
            follow.await;
            Ok(())
        });
    }

    /// Nobody who is told nothing is waited for.
    fn spawn_sender(&self, tasks: &mut Tasks, stop: &CancellationToken) {
        let alerts = &self.settings.alerts;
        if alerts.channels().is_empty() {
            return;
        }
        let (store, gauges) = (self.monitor.store().clone(), self.gauges.clone());
        let send = notify::run(store, alerts.clone(), gauges, stop.clone());
        spawn(tasks, "alerts", stop, async move {
            Box::pin(send).await;
            Ok(())
        });
    }

    fn spawn_reconcilers(
        &mut self,
        tasks: &mut Tasks,
        stop: &CancellationToken,
        draining: &Arc<AtomicBool>,
    ) -> (AppState, Registry) {
        let (published, gauges) = (Arc::clone(&self.published), self.gauges.clone());
        let store_trouble = Arc::new(AtomicBool::new(false));
        let events = Hub::default();
        let (store, processes) = (self.monitor.store(), self.monitor.processes());
        let lease = self.lease.clone();
        let (reconciler, node_handle) = nodes::Reconciler::new(nodes::Parts {
            store: store.clone(),
            checker: self.monitor.checker().clone(),
            published: Arc::clone(&published),
            settings: Arc::clone(&self.settings),
            lease: lease.clone(),
            here: processes.here().clone(),
            processes: processes.clone(),
            store_trouble: Arc::clone(&store_trouble),
            events: events.clone(),
            gauges: gauges.clone(),
        });
        spawn(tasks, "node reconciler", stop, reconciler.run(stop.clone()));
        let follow = flips::follow(store.clone(), events.clone(), stop.clone());
        spawn(tasks, "flips", stop, async move {
            follow.await;
            Ok(())
        });
        let prune = prune::run(
            store.clone(),
            Arc::clone(&published),
            self.settings.history.retain,
            stop.clone(),
        );
        spawn(tasks, "prune", stop, async move {
            prune.await;
            Ok(())
        });
        self.spawn_sender(tasks, stop);
        if self.settings.migrations.lock_dir.is_none() {
            // Nobody watches them here, and what is recorded of them is still the record.
            let (store, published) = (store.clone(), Arc::clone(&published));
            let (trouble, token) = (Arc::clone(&store_trouble), stop.clone());
            let gauges = gauges.clone();
            spawn(tasks, "record of migrations", stop, async move {
                migrations::publish_records(store, published, trouble, gauges, token).await;
                Ok(())
            });
        }
        let migration_handle = self.settings.migrations.lock_dir.clone().map(|path| {
            let (reconciler, handle) = migrations::Reconciler::new(migrations::Parts {
                store: store.clone(),
                processes: processes.clone(),
                dir: LockDir::new(path).within(self.settings.migrations.container.as_deref()),
                published: Arc::clone(&published),
                settings: self.settings.migrations.clone(),
                lease,
                adopted: self.their_migrations.clone(),
                keeps_locks: self.settings.adopt.keeps_locks(),
                store_trouble: Arc::clone(&store_trouble),
                events: events.clone(),
                gauges: gauges.clone(),
                watches: self.settings.events.enabled,
            });
            let token = stop.clone();
            spawn(tasks, "migration reconciler", stop, async move {
                Box::pin(reconciler.run(token)).await;
                Ok(())
            });
            handle
        });
        let registry = self.monitor.registry().clone().waking(node_handle.clone());
        if let Some(adopted) = self.their_nodes.take() {
            let (published, token) = (Arc::clone(&published), stop.clone());
            let adopted = adopted.through(registry.clone());
            spawn(tasks, "adopted nodes", stop, async move {
                adopted.run(published, token).await;
                Ok(())
            });
        }
        let state = AppState::new(http::Parts {
            published,
            checker: self.monitor.checker().clone(),
            store: store.clone(),
            registry: registry.clone(),
            nodes: node_handle,
            migrations: migration_handle,
            settings: Arc::clone(&self.settings),
            draining: Arc::clone(draining),
            store_trouble,
            events,
            gauges,
        });
        (state, registry)
    }
}

/// Runs a task that must not end before `stop`; how it ended is told apart by that.
fn spawn(
    tasks: &mut Tasks,
    name: &'static str,
    stop: &CancellationToken,
    task: impl Future<Output = Result<(), StoreError>> + Send + 'static,
) {
    let stop = stop.clone();
    tasks.spawn(async move {
        let result = task.await;
        (name, stop.is_cancelled(), result)
    });
}

fn died(ended: Result<Ended, tokio::task::JoinError>) -> AppError {
    match ended {
        Ok((_, _, Err(error))) => AppError::Store(error),
        Ok((name, ..)) => AppError::TaskDied(name),
        Err(error) => {
            tracing::error!(%error, "a task failed inside");
            AppError::TaskDied("failed")
        }
    }
}

/// How many connections are taken: as many as are wanted, and no more than a quarter of the descriptors that this process
/// may have, since the database, nodes and processes need theirs.
fn places(wanted: usize) -> usize {
    wanted.min(usize::try_from(descriptor_limit() / 4).unwrap_or(usize::MAX)).max(1)
}
