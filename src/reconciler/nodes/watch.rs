//! Holds on the nodes' processes: the end of one is told by the kernel, and its node is checked at once.
//!
//! A hint: the check says what the end means. What is not held is found at the next interval.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::endings::Endings;
use super::find::{Found, Search};
use super::{Reconciler, sleep_until};
use crate::checker::PidFiles;
use crate::domain::Identity;
use crate::domain::node::Method;
use crate::events::{Hub, Source, Watch as Told};
use crate::process::{Exits, Handle, Processes, ceiling, descriptor_limit, reserve, why_not_held};
use crate::snapshot::NodeView;

/// Nodes whose processes are searched for at a time: some 20 us each.
const AT_ONCE: usize = 4096;

/// After a search that took this share of the time, the next one waits: no more than a twentieth of a core.
const SEARCH_SHARE: u32 = 20;

/// The shortest pause between two searches, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(30));

/// How many are not watched is told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What the kernel says, or the search.
#[derive(Debug)]
pub(super) enum News {
    /// These have ended.
    Ended(Vec<u64>),
    /// A search is over.
    Searched(Searched),
    /// It is time to ask again how some have ended.
    AskAgain,
    /// The kernel tells no more.
    Failed(io::Error),
}

/// What is known of one node's process.
#[derive(Debug)]
enum Place {
    /// Nobody was found to hold.
    Nobody,
    /// It could not be held.
    Refused,
    /// It is held, under this token.
    Held(u64, Handle),
}

/// What a search found, and how long it took.
type Searched = Result<(Duration, Vec<(i64, Found)>), JoinError>;

/// All that is held.
#[derive(Debug)]
pub(super) struct Watch {
    processes: Processes,
    files: PidFiles,
    hub: Hub,
    /// None where it is switched off, or refused for good.
    exits: Option<Exits>,
    places: HashMap<i64, Place>,
    tokens: HashMap<u64, i64>,
    last_token: u64,
    /// Nodes whose processes are to be searched for.
    wanted: BTreeMap<i64, Arc<NodeView>>,
    /// Those of the search that is under way.
    searching: HashSet<i64>,
    search: Option<JoinHandle<Searched>>,
    rests_until: Instant,
    endings: Endings,
    refused: usize,
    why: &'static str,
    told_at: Option<Instant>,
    /// There is something to tell then.
    tell_at: Option<Instant>,
}

impl Watch {
    /// Nothing is held yet. Needs a runtime if `enabled`.
    pub(super) fn new(processes: Processes, files: PidFiles, hub: Hub, enabled: bool) -> Self {
        let exits = if enabled { Exits::new().map(Some) } else { Ok(None) };
        let exits = exits.unwrap_or_else(|error| {
            hub.set_watch(Source::NodeProcesses, Told::Polling(error.to_string()));
            None
        });
        Self {
            endings: Endings::new(processes.clone()),
            processes,
            files,
            hub,
            exits,
            places: HashMap::new(),
            tokens: HashMap::new(),
            last_token: 0,
            wanted: BTreeMap::new(),
            searching: HashSet::new(),
            search: None,
            rests_until: Instant::now(),
            refused: 0,
            why: "",
            told_at: None,
            tell_at: None,
        }
    }

    /// A node of ours was looked at: its process is searched for if that may find another one than before. `turned`:
    /// it has another state or another process since.
    pub(super) fn consider(&mut self, view: &Arc<NodeView>, turned: bool) {
        if self.exits.is_none() {
            return;
        }
        let node = &view.node;
        let wanted = match self.places.get(&node.id) {
            None | Some(Place::Refused) => true,
            Some(Place::Nobody) => turned,
            Some(Place::Held(_, handle)) => node.identity.as_ref().is_some_and(|observed| {
                observed.is_of(self.processes.here()) && observed.differs_from(handle.identity())
            }),
        };
        if wanted {
            self.wanted.insert(node.id, Arc::clone(view));
        }
    }

    /// The node is not ours any more, or is another one.
    pub(super) fn release(&mut self, id: i64) {
        self.wanted.remove(&id);
        self.searching.remove(&id);
        self.endings.forget(id);
        self.put(id, None);
    }

    /// Starts the search if it is time; `nodes` are ours, checked by `method`.
    pub(super) fn start_search(&mut self, nodes: usize, method: Method) {
        if self.search_due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let limit = descriptor_limit();
        let free = room(limit, nodes, method).saturating_sub(self.tokens.len());
        let mut views = Vec::new();
        while let Some((id, view)) = self.wanted.pop_first() {
            if views.len() == free {
                self.refuse(id, &Errno::MFILE.into());
                continue;
            }
            self.searching.insert(id);
            views.push(view);
            if views.len() == AT_ONCE {
                break;
            }
        }
        if views.is_empty() {
            self.rests_until = Instant::now() + PAUSE.0;
            self.tell();
            return;
        }
        let (files, processes) = (self.files.clone(), self.processes.clone());
        let job = tokio::spawn(async move {
            let in_files = files.of(views.iter().map(|view| &*view.node)).await;
            let search = Search { processes, ceiling: ceiling(limit), in_files };
            let searching = move || {
                let began = Instant::now();
                let found = search.run(&views);
                (began.elapsed(), found)
            };
            tokio::task::spawn_blocking(searching).await
        });
        self.search = Some(job);
    }

    fn search_due(&self) -> Option<Instant> {
        (self.search.is_none() && !self.wanted.is_empty()).then_some(self.rests_until)
    }

    /// Until something is told. Nothing is lost if it is not waited for to the end.
    pub(super) async fn next(&mut self) -> News {
        let due = self.endings.due();
        // A search that may start is started by the loop, which this wakes.
        let due = due.into_iter().chain(self.search_due()).chain(self.tell_at).min();
        let ended = async {
            match &self.exits {
                Some(exits) => exits.next().await,
                None => std::future::pending().await,
            }
        };
        let searched = async {
            match &mut self.search {
                Some(job) => job.await.flatten(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = ended => ended.map_or_else(News::Failed, News::Ended),
            searched = searched => News::Searched(searched),
            () = sleep_until(due) => News::AskAgain,
        }
    }

    /// Takes over what was found; the nodes whose processes were found by their ports.
    fn take(&mut self, found: Searched) -> Vec<(i64, Identity)> {
        self.search = None;
        let (took, found) = found.unwrap_or_else(|error| {
            tracing::error!(%error, "the search for processes failed inside");
            (PAUSE.1, Vec::new())
        });
        let pause = took.saturating_mul(SEARCH_SHARE);
        self.rests_until = Instant::now() + pause.clamp(PAUSE.0, PAUSE.1);
        let mut listening = Vec::new();
        for (id, found) in found {
            if !self.searching.remove(&id) {
                continue;
            }
            match found {
                Found::Nobody => self.put(id, Some(Place::Nobody)),
                Found::Refused(error) => self.refuse(id, &error),
                Found::Held(handle) => {
                    self.hold(id, handle);
                }
                Found::Listens(handle) => {
                    let identity = handle.identity().clone();
                    if self.hold(id, handle) {
                        listening.push((id, identity));
                    }
                }
            }
        }
        self.searching.clear();
        if self.wanted.is_empty() {
            self.tell();
        }
        listening
    }

    fn hold(&mut self, id: i64, handle: Handle) -> bool {
        let Some(exits) = &self.exits else { return false };
        self.last_token += 1;
        if let Err(error) = exits.add(&handle, self.last_token) {
            self.refuse(id, &error);
            return false;
        }
        self.endings.forget(id);
        self.tokens.insert(self.last_token, id);
        let token = self.last_token;
        self.put(id, Some(Place::Held(token, handle)));
        true
    }

    /// The process cannot be held. What refuses every process is not asked again.
    fn refuse(&mut self, id: i64, error: &io::Error) {
        self.why = why_not_held(error);
        if matches!(Errno::from_io_error(error), Some(Errno::NOSYS | Errno::PERM)) {
            self.give_up();
        } else {
            self.put(id, Some(Place::Refused));
        }
    }

    fn give_up(&mut self) {
        self.exits = None;
        self.places.clear();
        self.tokens.clear();
        self.wanted.clear();
        self.refused = 0;
        self.hub.set_watch(Source::NodeProcesses, Told::Polling(self.why.to_owned()));
    }

    fn put(&mut self, id: i64, place: Option<Place>) {
        self.refused += usize::from(matches!(place, Some(Place::Refused)));
        let before = match place {
            Some(place) => self.places.insert(id, place),
            None => self.places.remove(&id),
        };
        match before {
            Some(Place::Refused) => self.refused -= 1,
            Some(Place::Held(token, _)) => drop(self.tokens.remove(&token)),
            Some(Place::Nobody) | None => {}
        }
    }

    /// The process behind a token has ended: its node, if it is held for one still.
    fn ended(&mut self, token: u64) -> Option<i64> {
        let id = self.tokens.remove(&token)?;
        if let Some(Place::Held(_, handle)) = self.places.remove(&id) {
            self.endings.add(id, handle, Instant::now());
        }
        Some(id)
    }

    fn tell(&mut self) {
        let (held, refused) = (self.tokens.len(), self.refused);
        let told = match (&self.exits, refused, held) {
            (None, ..) => {
                self.tell_at = None;
                return;
            }
            (_, 0, 0) => Told::Off,
            (_, 0, _) => Told::On,
            _ => {
                let all = held + refused;
                Told::Polling(format!("{refused} of {all} processes are not watched: {}", self.why))
            }
        };
        let before = self.hub.watch(Source::NodeProcesses);
        let same = std::mem::discriminant(&before) == std::mem::discriminant(&told);
        let now = Instant::now();
        let free_at = self.told_at.map_or(now, |at| at + TELL_EVERY);
        self.tell_at = (same && free_at > now).then_some(free_at);
        if self.tell_at.is_none() {
            self.told_at = Some(now);
            self.hub.set_watch(Source::NodeProcesses, told);
        }
    }

    /// What was kept back for a while is told.
    fn tell_if_due(&mut self) {
        if self.tell_at.is_some_and(|at| at <= Instant::now()) {
            self.tell();
        }
    }
}

/// How many processes may be held of `limit` descriptors: each node that is asked over the network may keep a connection.
fn room(limit: u64, nodes: usize, method: Method) -> usize {
    let ours = usize::try_from(ceiling(limit)).unwrap_or(usize::MAX);
    let connections = if matches!(method, Method::Api | Method::Full) { nodes } else { 0 };
    ours.saturating_sub(connections).max(usize::try_from(reserve(limit)).unwrap_or(usize::MAX))
}

impl Reconciler {
    /// What the kernel told of the nodes' processes.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Ended(tokens) => {
                for token in tokens {
                    if let Some(id) = self.watch.ended(token) {
                        self.look_at_once(id);
                    }
                }
                self.ask_how_they_ended();
            }
            News::Searched(found) => {
                for (id, identity) in self.watch.take(found) {
                    self.identify(id, identity);
                }
            }
            News::AskAgain => {
                self.ask_how_they_ended();
                self.watch.tell_if_due();
            }
            News::Failed(error) => {
                tracing::error!(%error, "the ends of processes cannot be waited for");
                self.watch.why = why_not_held(&error);
                self.watch.give_up();
            }
        }
    }

    fn ask_how_they_ended(&mut self) {
        let interval = self.parts.settings.nodes.interval;
        for id in self.watch.endings.ask(interval, Instant::now()) {
            self.look_at_once(id);
        }
    }

    /// What was answered of it before is over.
    fn look_at_once(&mut self, id: i64) {
        self.parts.checker.forget(id);
        self.wake(id);
    }

    /// This process is the node, as `full` would have observed it.
    fn identify(&mut self, id: i64, identity: Identity) {
        let Some(entry) = self.entries.get_mut(&id).filter(|it| it.is_checked()) else { return };
        if entry.identify(identity) {
            self.dirty.insert(id);
            self.pace.change();
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
