//! Method `pid`: which process a node is, and whether it lives.

use std::net::IpAddr;

use super::patience::Subject;
use super::pid_file::read_pid_file;
use super::reach;
use super::table::{Program, Table, hint};
use super::ways::Ways;
use crate::domain::observation::{PidFacts, PidSeen};
use crate::domain::process::{Alive, DeathProof, Identity, Presence, Unknowable};
use crate::domain::{Kind, Node};

/// Looks at the process that the node is said to be, and at the one that listens on its port.
pub async fn look<T: Table>(node: &Node, ways: &Ways, table: &T) -> PidFacts {
    let Ways { limits, names, patience, .. } = ways;
    let kind = node.service.kind;
    let addresses = reach::addresses(names, &node.host, limits.connect_timeout).await;
    if addresses.is_empty() || !addresses.iter().all(|address| table.is_local(*address)) {
        return PidFacts { kind, ..unseen(node.pid, PidSeen::NotApplicable) };
    }
    let given = node.pid;
    let subject = Subject::Process(given, node.pid_file.clone().filter(|_| given.is_none()));
    let (id, node, table) = (node.id, node.clone(), table.clone());
    // The PID file may lie on a slow disk, and finding a listener may read every process's descriptors.
    let looking =
        patience.wait(id, subject, limits.api_timeout, move || judge(&node, &addresses, &table));
    let facts = looking.await;
    let facts = facts.unwrap_or_else(|| unseen(given, PidSeen::Unknown(Unknowable::Refused)));
    PidFacts { kind, ..facts }
}

/// A process that could be the node.
struct Candidate {
    pid: i32,
    alive: Alive,
    program: Program,
}

impl Candidate {
    fn of<T: Table>(table: &T, pid: i32, name: &str) -> Option<Self> {
        match table.look(i64::from(pid)) {
            Presence::Alive(alive) => Some(Self { pid, alive, program: table.program(pid, name) }),
            Presence::Dead(_) | Presence::Unknown(_) => None,
        }
    }

    fn into_facts(self, seen: PidSeen) -> PidFacts {
        let is_node = !matches!(seen, PidSeen::WrongProgram);
        PidFacts {
            cmdline: self.program.cmdline,
            identity: is_node.then_some(self.alive.identity),
            ..unseen(Some(i64::from(self.pid)), seen)
        }
    }

    /// As the process that the node is, beside what was recorded.
    fn into_node(self, recorded: Option<&Identity>, as_before: PidSeen) -> PidFacts {
        let seen = if self.alive.stopped {
            PidSeen::Stopped
        } else if recorded.is_some_and(|before| is_another(before, &self.alive.identity)) {
            PidSeen::Restarted
        } else {
            as_before
        };
        self.into_facts(seen)
    }
}

fn judge<T: Table>(node: &Node, addresses: &[IpAddr], table: &T) -> PidFacts {
    let name = node.process_name.as_str();
    let recorded = node.identity.as_ref();
    let given = node.pid.or_else(|| read_pid_file(node.pid_file.as_deref()?));
    let listener = addresses
        .iter()
        .find_map(|address| table.listener(*address, node.port, hint(node, given)))
        .and_then(|pid| Candidate::of(table, pid, name));
    match given {
        Some(pid) => match listener {
            Some(listener)
                if listener.program.fits == Some(true) && i64::from(listener.pid) != pid =>
            {
                listener.into_node(recorded, PidSeen::Adopted)
            }
            _ => judge_given(pid, name, recorded, table),
        },
        None => match listener {
            Some(listener) if listener.program.fits != Some(false) => {
                listener.into_node(recorded, PidSeen::Running)
            }
            stranger => judge_recorded(recorded, name, table)
                .or_else(|| stranger.map(|found| found.into_facts(PidSeen::WrongProgram)))
                .unwrap_or_else(|| unseen(None, PidSeen::NotSet)),
        },
    }
}

/// The PID that the user gave, for itself.
fn judge_given<T: Table>(pid: i64, name: &str, recorded: Option<&Identity>, table: &T) -> PidFacts {
    match table.look(pid) {
        Presence::Dead(proof) => dead(pid, proof, recorded, table),
        Presence::Unknown(why) => unseen(Some(pid), PidSeen::Unknown(why)),
        Presence::Alive(alive) => {
            let found = Candidate {
                pid: alive.identity.pid,
                program: table.program(alive.identity.pid, name),
                alive,
            };
            if found.program.fits == Some(false) {
                found.into_facts(PidSeen::WrongProgram)
            } else {
                found.into_node(recorded, PidSeen::Running)
            }
        }
    }
}

/// Nothing is given and nobody of ours listens: what became of the process that was the node before?
fn judge_recorded<T: Table>(
    recorded: Option<&Identity>,
    name: &str,
    table: &T,
) -> Option<PidFacts> {
    let recorded = recorded?;
    let pid = i64::from(recorded.pid);
    if recorded.boot_id != table.here().boot_id {
        return Some(unseen(Some(pid), PidSeen::Gone));
    }
    if !recorded.is_of(table.here()) {
        // Its number belongs to another PID namespace: nothing that we see here is about it.
        return None;
    }
    Some(match table.look(pid) {
        Presence::Alive(alive) if recorded.differs_from(&alive.identity) => {
            dead(pid, DeathProof::Reused, Some(recorded), table)
        }
        Presence::Alive(alive) => {
            let program = table.program(recorded.pid, name);
            Candidate { pid: recorded.pid, alive, program }.into_node(None, PidSeen::Running)
        }
        Presence::Dead(proof) => dead(pid, proof, Some(recorded), table),
        Presence::Unknown(why) => unseen(Some(pid), PidSeen::Unknown(why)),
    })
}

/// Proven dead, and how it ended if that was witnessed.
fn dead<T: Table>(pid: i64, proof: DeathProof, recorded: Option<&Identity>, table: &T) -> PidFacts {
    match proof {
        DeathProof::Zombie => unseen(Some(pid), PidSeen::Zombie),
        _ => PidFacts { exit: table.end(pid, recorded), ..unseen(Some(pid), PidSeen::Gone) },
    }
}

/// Nothing more than this; [`look`] adds what the node is.
const fn unseen(pid: Option<i64>, seen: PidSeen) -> PidFacts {
    let kind = Kind::MoneroWalletRpc;
    PidFacts { kind, pid, seen, cmdline: None, identity: None, exit: None }
}

/// Is the process now seen certainly not the recorded one? Two PID namespaces cannot be compared.
fn is_another(recorded: &Identity, now: &Identity) -> bool {
    recorded.boot_id != now.boot_id || (recorded.pid_ns == now.pid_ns && recorded.differs_from(now))
}

#[cfg(test)]
#[path = "pid_tests.rs"]
mod tests;
