//! Servers that run on this host, as nodes: found, held beside the registry, and registered where that is wanted.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::domain::discover::{Found, Server, found};
use crate::domain::fleet::Placement;
use crate::domain::node::Node;
use crate::mask::mask_url;
use crate::process::Processes;
use crate::registry::{Batched, NodePatch, Registry, RegistryError};
use crate::store::StoredNode;

/// How often a server looks.
const EVERY: Duration = Duration::from_mins(1);

/// How long a look may take: a configuration file may lie on a disk that hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// A server that runs, beside the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// What it is.
    pub found: Found,
    /// The node that it is already.
    pub known: Option<String>,
    /// The name that it would get; none for one that is known or cannot be a node.
    pub name: Option<String>,
    /// Why it could not be registered.
    pub problem: Option<String>,
    /// It was registered.
    pub added: bool,
}

/// Why it cannot be told what runs here, or not registered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The process table, or a file that a process was started with, lets us wait.
    #[error("a look at the processes takes longer than {}", humantime::format_duration(LIMIT))]
    Hangs,
    /// The look failed inside.
    #[error("the look at the processes failed")]
    Failed(#[source] JoinError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Looks for servers, one look at a time: one that hangs keeps its thread, and there are not many.
#[derive(Debug, Default)]
pub struct Looker {
    under_way: Option<JoinHandle<Vec<Server>>>,
}

impl Looker {
    /// Every server that runs here and can be seen, by PID; `nodes` are those of the registry, `instance` is our name.
    ///
    /// # Errors
    /// [`DiscoverError::Hangs`], [`DiscoverError::Failed`]
    pub async fn look(
        &mut self,
        processes: &Processes,
        nodes: &[StoredNode],
        instance: &str,
    ) -> Result<Vec<Discovery>, DiscoverError> {
        let processes = processes.clone();
        let servers = self.see(move || processes.servers(), LIMIT).await?;
        let nodes: Vec<&Node> = nodes.iter().map(|it| &it.node).collect();
        Ok(compare(servers.iter().map(found).collect(), &nodes, instance))
    }

    /// The same, and registers those that are new.
    ///
    /// # Errors
    /// [`DiscoverError`]; what is wrong with one of them is told beside it.
    pub async fn look_and_add(
        &mut self,
        processes: &Processes,
        registry: &Registry,
    ) -> Result<Vec<Discovery>, DiscoverError> {
        let nodes = registry.list().await?;
        let mut all = self.look(processes, &nodes, registry.instance()).await?;
        for it in &mut all {
            let Some(name) = it.name.clone() else { continue };
            // One by one: what is wrong with one of them keeps no other out.
            let done = registry.batch(vec![Ok(patch(name, &it.found))], false, false).await?;
            match done.into_iter().next() {
                Some(Batched::Added) => it.added = true,
                Some(Batched::Faulty(problem)) => it.problem = Some(problem),
                // Somebody else took the name meanwhile.
                _ => it.problem = Some("its name was taken: look again".to_owned()),
            }
        }
        Ok(all)
    }

    /// What a look begun now brings, once the one before it has ended: what that one found may be long gone.
    async fn see(
        &mut self,
        look: impl FnOnce() -> Vec<Server> + Send + 'static,
        limit: Duration,
    ) -> Result<Vec<Server>, DiscoverError> {
        if let Some(before) = &mut self.under_way {
            let _ = timeout(limit, before).await.map_err(|_| DiscoverError::Hangs)?;
        }
        let looking = self.under_way.insert(tokio::task::spawn_blocking(look));
        let seen = timeout(limit, looking).await.map_err(|_| DiscoverError::Hangs)?;
        self.under_way = None;
        seen.map_err(DiscoverError::Failed)
    }
}

/// Looks at the start and once a minute, and registers what is new, until the token is cancelled. What is gone stays and
/// is shown as down: that it is gone is what its operator has to know.
pub async fn run(processes: Processes, registry: Registry, token: CancellationToken) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looker = Looker::default();
    let mut told = HashSet::new();
    let mut is_failing = false;
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            _ = turns.tick() => {}
        }
        match looker.look_and_add(&processes, &registry).await {
            Ok(all) => {
                is_failing = false;
                let pids: HashSet<i32> = all.iter().map(|it| it.found.identity.pid).collect();
                told.retain(|pid| pids.contains(pid));
                for it in &all {
                    tell(it, &mut told);
                }
            }
            Err(error) if !is_failing => {
                is_failing = true;
                let error = chain(&error);
                tracing::warn!(error, "nodes cannot be discovered; it is tried again each minute");
            }
            Err(_) => {}
        }
    }
}

/// Once for each process.
fn tell(it: &Discovery, told: &mut HashSet<i32>) {
    let (pid, kind) = (it.found.identity.pid, it.found.kind.as_str());
    let notes = it.notes().join("; ");
    if it.added {
        let node = it.name.as_deref();
        tracing::info!(pid, kind, node, notes, "a server was discovered and registered");
    } else if it.known.is_none() && told.insert(pid) {
        tracing::info!(pid, kind, notes, "a server was discovered and cannot be registered");
    }
}

impl Discovery {
    /// What people should know.
    #[must_use]
    pub fn notes(&self) -> Vec<&str> {
        let problem = self.problem.as_deref();
        self.found.notes.iter().copied().chain(problem).collect()
    }
}

/// Which of them are known, and what the others would be called.
fn compare(mut found: Vec<Found>, nodes: &[&Node], instance: &str) -> Vec<Discovery> {
    found.sort_by_key(|it| it.identity.pid);
    let mut taken: HashSet<String> = nodes.iter().map(|it| it.name.clone()).collect();
    let mut places: HashSet<(IpAddr, u16)> = HashSet::new();
    // A loopback address of another host is another place.
    let ours = |it: &&&Node| Placement::of(it).allows(instance);
    found
        .into_iter()
        .map(|found| {
            let known = nodes.iter().filter(ours).find(|it| found.is(it));
            let known = known.map(|it| it.name.clone());
            // A forked server's socket belongs to each of its processes.
            let is_first = found.place.is_some_and(|place| places.insert(place));
            let is_new = known.is_none() && is_first;
            let name = is_new.then(|| found.name(|name| taken.contains(name))).flatten();
            taken.extend(name.clone());
            Discovery { found, known, name, problem: None, added: false }
        })
        .collect()
}

fn patch(name: String, found: &Found) -> NodePatch {
    NodePatch {
        name: Some(name),
        kind: Some(found.kind),
        host: found.place.map(|(address, _)| address.to_string()),
        port: found.place.map(|(_, port)| port),
        tls: Some(found.tls),
        username: found.username.clone().map(Some),
        password: found.password.clone().map(Some),
        daemon: found.daemon.as_deref().map(|daemon| Some(mask_url(daemon))),
        pid_file: found.pid_file.clone().map(Some),
        ..NodePatch::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Identity;
    use crate::domain::node::{Password, Tls};
    use crate::domain::service::Kind;

    fn identity(pid: i32) -> Identity {
        Identity { boot_id: "b".into(), pid_ns: 1, pid, start_ticks: Some(1), inode: None }
    }

    fn server(pid: i32, port: Option<u16>) -> Found {
        Found {
            kind: Kind::MoneroWalletRpc,
            identity: identity(pid),
            place: port.map(|port| ([127, 0, 0, 1].into(), port)),
            tls: Tls::Off,
            username: None,
            password: None,
            daemon: None,
            pid_file: None,
            notes: Vec::new(),
        }
    }

    fn node(name: &str, host: &str, port: u16) -> Node {
        Node { id: 1, ..Node::new(name, host, port, "here") }
    }

    #[test]
    fn what_is_known_is_known_by_its_place_or_its_process() {
        let found = || vec![server(7, Some(1))];
        let known = |node: &Node| compare(found(), &[node], "here")[0].known.is_some();
        for (host, port, is_known) in [
            ("127.0.0.1", 1, true),
            ("localhost", 1, true),
            ("::1", 1, true),
            ("127.0.0.1", 2, false),
            ("10.0.0.7", 1, false),
            ("example.org", 1, false),
        ] {
            assert_eq!(known(&node("a", host, port)), is_known, "{host}:{port}");
        }
        let moved = |pid| Node { identity: Some(identity(pid)), ..node("a", "example.org", 2) };
        assert!(known(&moved(7)) && !known(&moved(8)));
        let others = Node { instance: "there".into(), ..node("a", "127.0.0.1", 1) };
        assert!(!known(&others), "another host's loopback");
    }

    #[test]
    fn each_place_is_new_once_and_has_a_name_of_its_own() {
        let taken = Node { instance: "there".into(), ..node("wallet-1", "127.0.0.1", 1) };
        let found =
            vec![server(9, Some(1)), server(8, Some(1)), server(7, None), server(10, Some(2))];
        let all = compare(found, &[&taken], "here");
        let names: Vec<_> =
            all.iter().map(|it| (it.found.identity.pid, it.name.as_deref())).collect();
        assert_eq!(names, [(7, None), (8, Some("wallet-1-2")), (9, None), (10, Some("wallet-2"))],);
    }

    #[test]
    fn a_node_is_made_of_it_without_the_secrets_of_its_daemon() {
        let found = Found {
            username: Some("u".into()),
            password: Some(Password::new("p".into())),
            daemon: Some("http://u:s3cret@h:1".into()),
            ..server(7, Some(1))
        };
        let patch = patch("n".into(), &found);
        assert_eq!((patch.host.as_deref(), patch.port), (Some("127.0.0.1"), Some(1)));
        assert_eq!(patch.password, Some(Some(Password::new("p".into()))));
        assert!(!patch.daemon.flatten().unwrap().contains("s3cret"));
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_said_and_waited_for_before_another_begins() {
        let (short, long) = (Duration::from_millis(50), Duration::from_mins(1));
        let mut looker = Looker::default();
        let (end_it, hangs) = std::sync::mpsc::channel::<()>();
        let hang = move || {
            let _ = hangs.recv();
            Vec::new()
        };
        assert!(matches!(looker.see(hang, short).await, Err(DiscoverError::Hangs)));
        for _ in 0..3 {
            let never = || panic!("two at once");
            assert!(matches!(looker.see(never, short).await, Err(DiscoverError::Hangs)));
        }
        drop(end_it);
        assert_eq!(looker.see(Vec::new, long).await.unwrap().len(), 0);
        assert!(looker.under_way.is_none());
        let fails = looker.see(|| panic!("on purpose"), long).await;
        assert!(matches!(fails, Err(DiscoverError::Failed(_))));
        assert_eq!(looker.see(Vec::new, long).await.unwrap().len(), 0);
    }
}
