//! The library's facade: check nodes without the server.
//!
//! As the earlier module's facade did: check a node by a method and keep nothing, check it
//! and record the verdict, check all. Recording goes through the same judgement, thresholds and Store method
//! as the server's, events included. The crate's own page has an example.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::checker::{Allow, Checked, Checker, CheckerError, Limits, Places};
use crate::clock;
use crate::config::Settings;
use crate::domain::details::{Finding, details, find};
use crate::domain::verdict::{State, Thresholds, Verdict, evaluate, weigh};
use crate::domain::{Method, Node, Now, Observation, Timestamp};
use crate::instance::{self, NameError, Patience};
use crate::process::{ProcessError, Processes};
use crate::registry::Registry;
use crate::secrets::{KeyError, Secrets};
use crate::store::{Lease, Open, Store, StoreError, StoredNode, VerdictWrite};

/// How long the goodbye to the database may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why the facade cannot be opened, or could not record.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The process table cannot be asked.
    #[error("the process table cannot be asked")]
    Processes(#[from] ProcessError),
    /// TLS cannot be set up.
    #[error("the checker cannot be set up")]
    Checker(#[from] CheckerError),
    /// A key for the nodes' passwords is none.
    #[error("the configuration is at fault")]
    Key(#[from] KeyError),
    /// The name under which verdicts are recorded is another's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The database cannot be opened, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one check of one node saw and what it means by itself, before thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOutcome {
    /// Does it certainly work?
    pub status: bool,
    /// What the observation means; it tells "down" from "cannot be told".
    pub finding: Finding,
    /// The JSON of the earlier API, as `GET /nodes/{id}/status` gives it.
    pub details: Value,
    /// The facts.
    pub observation: Observation,
    /// When the check ended.
    pub at: Now,
}

impl CheckOutcome {
    fn new(observation: Observation, at: Now) -> Self {
        let finding = find(&observation);
        let details = details(&observation, at.wall);
        Self { status: finding.is_up(), finding, details, observation, at }
    }

    /// What was seen, in one word: `up`, `down` or `unknown`.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.finding.works {
            Some(true) => State::Up,
            Some(false) => State::Down,
            None => State::Unknown,
        }
    }

    /// How long the answer took on which it rests, in milliseconds; `None` if none came.
    #[must_use]
    pub fn latency_ms(&self) -> Option<u32> {
        self.observation.latency().map(|d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX))
    }
}

/// One node of a [`Summary`].
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedNode {
    /// As it stood in the registry before the check, with its recorded verdict.
    pub stored: StoredNode,
    /// What was seen.
    pub outcome: CheckOutcome,
    /// What is held of it after this look; recorded if that was asked for.
    pub verdict: Verdict,
}

impl CheckedNode {
    /// Since when it has been in the state that was seen, as far as the record tells.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let before = &self.stored.verdict;
        let recorded = before.since.filter(|_| before.state == self.outcome.state());
        recorded.unwrap_or(self.outcome.at.wall)
    }
}

/// A check of several nodes. It counts what was seen: a node works if this look says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Nodes that were checked.
    pub total: usize,
    /// Those that work.
    pub working: usize,
    /// The others: down, or it cannot be told.
    pub failed: usize,
    /// Each, by id.
    pub nodes: Vec<CheckedNode>,
}

/// A database, a checker and the settings of the judgement: everything a check needs, and no server.
#[derive(Debug, Clone)]
pub struct Monitor {
    store: Store,
    checker: Checker,
    processes: Processes,
    registry: Registry,
    thresholds: Thresholds,
    instance: String,
    beat_holds: Duration,
    /// Our name, once something was recorded.
    lease: Arc<OnceCell<Lease>>,
    concurrency: usize,
}

impl Monitor {
    /// Opens the database of the settings and sets up a checker with their limits.
    ///
    /// # Errors
    /// [`MonitorError`]; with [`Open::Existing`] also if there is no database or its schema is older.
    pub async fn open(settings: &Settings, open: Open) -> Result<Self, MonitorError> {
        let secrets = Secrets::new(&settings.adopt)?;
        let store = Store::open(&settings.database, open).await?.alerting(settings.alerts.rules());
        let processes = Processes::new()?;
        let nodes = &settings.nodes;
        let limits =
            Limits { connect_timeout: nodes.connect_timeout, api_timeout: nodes.api_timeout };
        let places = Places::new(nodes.keep_connections);
        let allow = Allow::only(&nodes.allow);
        let checker = Checker::allowing(processes.clone(), limits, secrets, places, allow)?;
        let instance = settings.instance.name.clone();
        Ok(Self {
            registry: Registry::new(store.clone(), checker.clone(), instance.clone())
                .adopting(settings.adopt.nodes().cloned()),
            store,
            checker,
            processes,
            thresholds: nodes.thresholds(),
            instance,
            beat_holds: settings.instance.lease(),
            lease: Arc::default(),
            concurrency: nodes.concurrency.max(1),
        })
    }

    /// The database.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Our name, taken when it is needed first. Nothing is recorded without it: another instance may have it.
    ///
    /// # Errors
    /// [`MonitorError::Name`] if a live instance has it.
    pub async fn lease(&self) -> Result<&Lease, MonitorError> {
        let take = || async {
            let (store, processes) = (&self.store, &self.processes);
            instance::take(store, processes, &self.instance, self.beat_holds, Patience::None).await
        };
        Ok(self.lease.get_or_try_init(take).await?)
    }

    /// The same, waiting for the lease of a predecessor that may be gone.
    ///
    /// # Errors
    /// [`MonitorError::Name`] if that one is alive after all.
    pub async fn wait_for_lease(&self) -> Result<&Lease, MonitorError> {
        let take = || async {
            let (store, processes) = (&self.store, &self.processes);
            instance::take(store, processes, &self.instance, self.beat_holds, Patience::Wait).await
        };
        Ok(self.lease.get_or_try_init(take).await?)
    }

    /// Gives the name back and closes the database.
    pub async fn close(&self) {
        let goodbye = async {
            if let Some(lease) = self.lease.get()
                && let Err(error) = self.store.release_name(lease).await
            {
                let error = error.chain();
                tracing::debug!(error, "the name was not given back; its lease ends by itself");
            }
            self.store.close().await;
        };
        // A database that hangs keeps nobody from ending.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// The checker.
    #[must_use]
    pub const fn checker(&self) -> &Checker {
        &self.checker
    }

    /// The process table.
    #[must_use]
    pub const fn processes(&self) -> &Processes {
        &self.processes
    }

    /// The registry.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Checks a node and keeps nothing.
    pub async fn check(&self, node: &Node, method: Method) -> CheckOutcome {
        let checked = self.checker.check(&Arc::new(node.clone()), method).await;
        CheckOutcome::new(checked.observation, checked.at)
    }

    /// Checks a node and records the verdict, with an event if it turned.
    ///
    /// `stored` is the node as it was read last: thresholds over 1 count on from what is recorded there.
    ///
    /// # Errors
    /// [`MonitorError::Store`]: then nothing is recorded.
    pub async fn check_and_save(
        &self,
        stored: &StoredNode,
        method: Method,
    ) -> Result<(CheckOutcome, Verdict), MonitorError> {
        let checked = self.look(stored.clone(), method).await;
        self.save(std::slice::from_ref(&checked)).await?;
        Ok((checked.outcome, checked.verdict))
    }

    /// Checks every available node, at most `nodes.concurrency` at once; with `save` the verdicts are recorded
    /// together in one transaction.
    ///
    /// # Errors
    /// [`MonitorError::Store`].
    pub async fn check_all(&self, method: Method, save: bool) -> Result<Summary, MonitorError> {
        let mut nodes = self.store.nodes().await?;
        nodes.retain(|stored| stored.node.available);
        self.check_these(nodes, method, save).await
    }

    /// The same for the nodes given, disabled ones too.
    ///
    /// # Errors
    /// [`MonitorError::Store`].
    pub async fn check_these(
        &self,
        nodes: Vec<StoredNode>,
        method: Method,
        save: bool,
    ) -> Result<Summary, MonitorError> {
        self.check_these_telling(nodes, method, save, || {}).await
    }

    /// The same; `done` is called when one of them was looked at.
    ///
    /// # Errors
    /// [`MonitorError::Store`].
    pub async fn check_these_telling(
        &self,
        nodes: Vec<StoredNode>,
        method: Method,
        save: bool,
        done: impl Fn(),
    ) -> Result<Summary, MonitorError> {
        let mut checked: Vec<CheckedNode> = stream::iter(nodes)
            .map(|stored| self.look(stored, method))
            .buffer_unordered(self.concurrency)
            .inspect(|_| done())
            .collect()
            .await;
        checked.sort_by_key(|it| it.stored.node.id);
        if save {
            self.save(&checked).await?;
        }
        let total = checked.len();
        let working = checked.iter().filter(|it| it.outcome.status).count();
        Ok(Summary { total, working, failed: total - working, nodes: checked })
    }

    async fn look(&self, stored: StoredNode, method: Method) -> CheckedNode {
        let node = Arc::new(stored.node.clone());
        let Checked { observation, at } = self.checker.check(&node, method).await;
        let (before, thresholds) = (&stored.verdict, self.thresholds);
        let seen = weigh(&observation, before, thresholds.busy_grace, at).into_owned();
        let verdict = evaluate(&stored.node, before, &seen, thresholds, at);
        let outcome = CheckOutcome::new(seen, at);
        CheckedNode { stored, outcome, verdict }
    }

    /// Every look is written, also one that changed nothing: no heartbeat vouches for it.
    async fn save(&self, checked: &[CheckedNode]) -> Result<(), MonitorError> {
        let host_id = &self.processes.here().host_id;
        // Another instance's nodes are its own to record.
        let is_ours = |it: &&CheckedNode| {
            self.store.is_sole() || it.stored.owner.as_deref() == Some(&*self.instance)
        };
        let writes: Vec<VerdictWrite> = checked
            .iter()
            .filter(is_ours)
            .map(|it| VerdictWrite {
                id: it.stored.node.id,
                name: it.stored.node.name.clone(),
                version: it.stored.version,
                owner_epoch: it.stored.owner_epoch,
                was: it.stored.verdict.state,
                host_id: host_id.clone(),
                verdict: it.verdict.clone(),
                flip: it.verdict.flipped_from(&it.stored.verdict),
            })
            .collect();
        let lease = self.lease().await?;
        self.store.record_verdicts(lease, &writes, clock::now().wall).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::domain::node::Password;
    use crate::registry::NodePatch;

    struct Bench {
        monitor: Monitor,
        instance: String,
        _dir: tempfile::TempDir,
    }

    async fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        let path = dir.path().join("p.db");
        settings.database.url = Password::new(format!("sqlite://{}", path.display()));
        "here".clone_into(&mut settings.instance.name);
        let monitor = Monitor::open(&settings, Open::Create).await.unwrap();
        Bench { monitor, instance: settings.instance.name, _dir: dir }
    }

    async fn add(bench: &Bench, name: &str, port: u16, available: bool) -> StoredNode {
        let patch = NodePatch {
            name: Some(name.to_owned()),
            port: Some(port),
            available: Some(available),
            ..NodePatch::default()
        };
        bench.monitor.registry().create(patch).await.unwrap()
    }

    fn closed_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_check_keeps_nothing() {
        let bench = bench().await;
        let stored = add(&bench, "a", closed_port(), true).await;
        let outcome = bench.monitor.check(&stored.node, Method::Port).await;
        assert_eq!((outcome.status, outcome.state()), (false, State::Down));
        assert_eq!(outcome.details["message"], "Port is not in use");
        assert_eq!(bench.monitor.store().nodes().await.unwrap(), [stored]);
    }

    #[tokio::test]
    async fn a_saved_check_is_recorded_with_an_event_when_it_turns() {
        let bench = bench().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        add(&bench, "a", port, true).await;
        add(&bench, "out", closed_port(), false).await;
        let name = std::env::current_exe().unwrap();
        let name = name.file_name().unwrap().to_string_lossy().into_owned();
        let patch = NodePatch { process_name: Some(name), ..NodePatch::default() };
        bench.monitor.registry().update("a", patch).await.unwrap();

        let first = bench.monitor.check_all(Method::Port, true).await.unwrap();
        assert_eq!((first.total, first.working, first.failed), (1, 1, 0));
        assert!(bench.monitor.store().events(&bench.instance, 10).await.unwrap().is_empty());

        close(listener);
        let stored = bench.monitor.registry().get("a").await.unwrap();
        assert_eq!(stored.verdict.state, State::Up);
        let (outcome, verdict) = bench.monitor.check_and_save(&stored, Method::Port).await.unwrap();
        assert_eq!((outcome.status, verdict.state), (false, State::Down));
        let after = bench.monitor.registry().get("a").await.unwrap().verdict;
        assert_eq!((after.state, after.reason), (State::Down, verdict.reason));
        let events = bench.monitor.store().events(&bench.instance, 10).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].name.as_str(), events[0].state.as_str()), ("a", "down"));
    }

    /// A child that another test has just forked holds the socket as well, until its `exec`.
    fn close(listener: TcpListener) {
        let (address, began) = (listener.local_addr().unwrap(), Instant::now());
        drop(listener);
        while TcpStream::connect(address).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(30), "somebody listens at {address}");
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_threshold_counts_on_from_one_saved_check_to_the_next() {
        let mut bench = bench().await;
        bench.monitor.thresholds.failure = 3;
        // An address of its own: on another one this process may listen again before the next look.
        let host = Ipv4Addr::new(127, 83, 1, 9);
        let listener = TcpListener::bind((host, 0)).unwrap();
        add(&bench, "a", listener.local_addr().unwrap().port(), true).await;
        let name = std::env::current_exe().unwrap();
        let name = name.file_name().unwrap().to_string_lossy().into_owned();
        let host = Some(host.to_string());
        let patch = NodePatch { process_name: Some(name), host, ..NodePatch::default() };
        bench.monitor.registry().update("a", patch).await.unwrap();
        bench.monitor.check_all(Method::Port, true).await.unwrap();
        close(listener);
        let mut states = Vec::new();
        for _ in 0..3 {
            bench.monitor.check_all(Method::Port, true).await.unwrap();
            states.push(bench.monitor.registry().get("a").await.unwrap().verdict.state);
        }
        assert_eq!(states, [State::Up, State::Up, State::Down]);
        assert_eq!(bench.monitor.store().events(&bench.instance, 10).await.unwrap().len(), 1);
    }
}
