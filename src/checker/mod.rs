//! The checker: looks at nodes by PID, port and RPC. One instance, shared by the background task, HTTP
//! and the command line, so that a node is never asked twice at a time.
//!
//! It says what was seen and judges nothing; see [`crate::domain::verdict`].

mod allow;
mod answer;
#[cfg(feature = "bench")]
pub mod bench;
mod connection;
mod digest;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod kept;
mod names;
mod patience;
mod pid;
mod pid_file;
mod port;
mod question;
mod reach;
mod rpc;
mod silence;
mod slot;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod ways;
mod wire;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::clock;
use crate::domain::observation::ApiFacts;
use crate::domain::process::Presence;
use crate::domain::{Exit, Here, Identity, Method, Node, Now, Observation};
use crate::process::{self, ListenerSight, Processes};
use crate::secrets::Secrets;
pub use allow::Allow;
pub use kept::Places;
use names::Names;
use patience::Patience;
pub use pid_file::PidFiles;
use silence::Watch;
use slot::{Slot, Slots};
use table::{Program, Table};
use ways::Ways;

/// How long a check may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the TCP connection stands, the name's resolution included.
    pub connect_timeout: Duration,
    /// From then on, until the RPC answer is read: TLS, login and body included.
    pub api_timeout: Duration,
}

/// Why nothing can be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// The cryptography at hand speaks no TLS.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// What a check saw, and when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The facts.
    pub observation: Observation,
    /// When the look ended.
    pub at: Now,
}

/// Checks nodes; cheap to clone.
#[derive(Clone)]
pub struct Checker {
    inner: Arc<Inner>,
}

struct Inner {
    processes: Processes,
    ways: Ways,
    secrets: Secrets,
    places: Places,
    slots: Mutex<Slots>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("limits", &self.inner.ways.limits).finish_non_exhaustive()
    }
}

impl Checker {
    /// A checker that has looked at nothing yet; `secrets` opens the passwords of nodes, `places` is how many connections
    /// it keeps.
    ///
    /// # Errors
    /// [`CheckerError::Tls`]
    pub fn new(
        processes: Processes,
        limits: Limits,
        secrets: Secrets,
        places: Places,
    ) -> Result<Self, CheckerError> {
        Self::allowing(processes, limits, secrets, places, Allow::default())
    }

    /// The same, connecting to `allow` only.
    ///
    /// # Errors
    /// [`CheckerError::Tls`]
    pub fn allowing(
        processes: Processes,
        limits: Limits,
        secrets: Secrets,
        places: Places,
        allow: Allow,
    ) -> Result<Self, CheckerError> {
        let tls = tls::Configs::new().map_err(CheckerError::Tls)?;
        let names = Names::default().allowing(allow);
        let ways = Ways { limits, names, tls, patience: Patience::default() };
        let slots = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { processes, ways, secrets, places, slots }) })
    }

    /// Looks at a node now, or joins a look of the same method that is under way.
    pub async fn check(&self, node: &Arc<Node>, method: Method) -> Checked {
        let slot = self.slot(node);
        let epoch = slot.epoch();
        let checked = self.run(&slot, node, method).await;
        slot.outdate(epoch, method);
        checked
    }

    /// As [`Self::check`], but an answer of the last second is given again.
    pub async fn live(&self, node: &Arc<Node>, method: Method) -> Checked {
        let slot = self.slot(node);
        if let Some(answer) = slot.recent(method, clock::now()) {
            return answer;
        }
        let epoch = slot.epoch();
        let checked = self.run(&slot, node, method).await;
        slot.remember(epoch, method, &checked);
        checked
    }

    /// What reads the PID files of nodes, each in the time that a look has.
    #[must_use]
    pub fn pid_files(&self) -> PidFiles {
        let Ways { limits, patience, .. } = &self.inner.ways;
        PidFiles::new(patience.clone(), limits.api_timeout)
    }

    /// Forgets a node's recent answers: something happened to it.
    pub fn forget(&self, id: i64) {
        if let Some(slot) = self.slots().get(id) {
            slot.forget();
        }
    }

    /// Forgets all that is held for a node, and ends its kept connection: it was changed or removed.
    pub fn reset(&self, id: i64) {
        self.slots().reset(id);
    }

    fn slot(&self, node: &Arc<Node>) -> Arc<Slot> {
        self.slots().of(node)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // A panic cannot leave the map half changed.
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, slot: &Arc<Slot>, node: &Arc<Node>, method: Method) -> Checked {
        let Some(flight) = slot.run(method) else {
            let (facts, at) = self.inner.api(slot).await;
            return Checked { observation: Observation::Api(facts), at };
        };
        let run = flight.join(|| {
            let (inner, slot, node) = (self.inner.clone(), slot.clone(), Arc::clone(node));
            async move {
                let observation = inner.look(&slot, &node, method).await;
                Checked { observation, at: clock::now() }
            }
            .boxed()
        });
        let checked = run.end().await;
        flight.rest(&run);
        checked
    }
}

impl Inner {
    async fn look(self: &Arc<Self>, slot: &Arc<Slot>, node: &Node, method: Method) -> Observation {
        let pid = || pid::look(node, &self.ways, &self.processes);
        let port = || port::look(node, &self.ways, &self.processes);
        let api = || async { self.api(slot).await.0 };
        match method {
            Method::Pid => Observation::Pid(pid().await),
            Method::Port => Observation::Port(port().await),
            Method::Api => Observation::Api(api().await),
            Method::Full => {
                let (pid, port, api) = tokio::join!(pid(), port(), api());
                Observation::Full(pid, port, api)
            }
        }
    }

    /// One RPC exchange at a time, whatever method it is for; and when it ended.
    async fn api(self: &Arc<Self>, slot: &Arc<Slot>) -> (ApiFacts, Now) {
        let run = slot.api.join(|| {
            let (inner, slot) = (self.clone(), slot.clone());
            async move {
                let _turn = slot.turn().await;
                let node = slot.target();
                let password = match (slot.username(), &node.password) {
                    (Some(_), Some(password)) => {
                        rpc::password(node.id, password, &inner.secrets, &inner.ways)
                            .await
                            .map(Some)
                    }
                    _ => Ok(None),
                };
                let watch = Watch { node, ways: &inner.ways, processes: &inner.processes };
                let (facts, connection) = rpc::ask(&slot, &password, &watch).await;
                let ended = clock::now();
                slot.keep(connection.and_then(|mut connection| {
                    connection.rest(ended.up);
                    inner.places.take(connection)
                }));
                (facts, ended)
            }
            .boxed()
        });
        let ended = run.end().await;
        slot.api.rest(&run);
        ended
    }
}

impl Table for Processes {
    fn here(&self) -> &Here {
        self.here()
    }

    fn look(&self, pid: i64) -> Presence {
        self.look(pid)
    }

    fn program(&self, pid: i32, name: &str) -> Program {
        let program = self.program(pid);
        Program {
            name: program.name().unwrap_or("?").to_owned(),
            fits: program.is(name),
            cmdline: program.cmdline,
        }
    }

    fn listener(&self, address: IpAddr, port: u16, hint: Option<i32>) -> Option<i32> {
        match self.listener(address, port, hint) {
            ListenerSight::Owner { pid } => Some(pid),
            ListenerSight::Hidden | ListenerSight::None => None,
        }
    }

    fn end(&self, pid: i64, recorded: Option<&Identity>) -> Option<Exit> {
        self.remembered(pid, recorded)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        process::is_local(address)
    }
}
