//! Which process a node is, to be held on to: the one that was observed, else the one that its operator names, else,
//! while it works, the one that listens on its port. Blocking; for many nodes at a time.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;

use rustix::io::Errno;

use crate::domain::verdict::State;
use crate::domain::{Node, Presence};
use crate::process::{Handle, Processes, is_local};
use crate::snapshot::NodeView;

/// What came of the search for one node's process.
#[derive(Debug)]
pub(super) enum Found {
    /// It lives and is held.
    Held(Handle),
    /// The same, and it was found to be the node: it listens on its port and is its program.
    Listens(Handle),
    /// It lives, and the kernel or our limits refuse a hold on it.
    Refused(io::Error),
    /// It is dead, on another host, or not to be found.
    Nobody,
}

/// The search, which holds no descriptor with a number from `ceiling` on: those are for others.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) processes: Processes,
    pub(super) ceiling: RawFd,
    /// What stands in the PID files of nodes.
    pub(super) in_files: HashMap<i64, i64>,
}

impl Search {
    /// What came of each.
    pub(super) fn run(&self, wanted: &[Arc<NodeView>]) -> Vec<(i64, Found)> {
        let mut found: Vec<(i64, Found)> =
            wanted.iter().map(|view| (view.node.id, self.known(&view.node))).collect();
        self.listeners(wanted, &mut found);
        found
    }

    /// The process that was observed, or that its operator names.
    fn known(&self, node: &Node) -> Found {
        let here = self.processes.here();
        if let Some(recorded) = node.identity.as_ref().filter(|it| it.is_of(here)) {
            let found = self.hold(recorded.pid.into());
            if !matches!(&found, Found::Held(it) if recorded.differs_from(it.identity()))
                && !matches!(found, Found::Nobody)
            {
                return found;
            }
        }
        if address(node).is_none_or(|address| !is_local(address)) {
            return Found::Nobody;
        }
        let given = node.pid.or_else(|| self.in_files.get(&node.id).copied());
        let found = given.map_or(Found::Nobody, |pid| self.hold(pid));
        match &found {
            Found::Held(it) if self.fits(it, node) == Some(false) => Found::Nobody,
            _ => found,
        }
    }

    fn hold(&self, pid: i64) -> Found {
        match self.processes.try_watch(pid) {
            (Presence::Alive(_), Ok(Some(handle))) if handle.as_raw_fd() >= self.ceiling => {
                Found::Refused(Errno::MFILE.into())
            }
            (Presence::Alive(_), Ok(Some(handle))) => Found::Held(handle),
            (Presence::Alive(_), Err(refused)) => Found::Refused(refused),
            _ => Found::Nobody,
        }
    }

    /// Read while it is held: not of another under its number, if it has not ended since.
    fn fits(&self, handle: &Handle, node: &Node) -> Option<bool> {
        let fits = self.processes.is_program(handle.identity().pid, &node.process_name);
        fits.filter(|_| !handle.has_exited())
    }

    /// Those that work and were not found otherwise: one search over all processes for all of them.
    fn listeners(&self, wanted: &[Arc<NodeView>], found: &mut [(i64, Found)]) {
        let asked: Vec<(usize, (IpAddr, u16))> = wanted
            .iter()
            .enumerate()
            .filter(|(at, view)| {
                view.verdict.state == State::Up && matches!(found[*at].1, Found::Nobody)
            })
            .filter_map(|(at, view)| Some((at, (address(&view.node)?, view.node.port))))
            .filter(|(_, (address, _))| is_local(*address))
            .collect();
        if asked.is_empty() {
            return;
        }
        let places: Vec<(IpAddr, u16)> = asked.iter().map(|(_, place)| *place).collect();
        let owners = self.processes.listeners(&places);
        // One server of another program may have thousands of ports; it is asked once what it is.
        let mut strangers: HashMap<(i32, &str), bool> = HashMap::new();
        for ((at, place), owner) in asked.into_iter().zip(owners) {
            let (Some(pid), node) = (owner, &wanted[at].node) else { continue };
            let is_node = *strangers.entry((pid, &node.process_name)).or_insert_with(|| {
                let fits = self.processes.is_program(pid, &node.process_name);
                // As method `pid` adopts a listener: beside a PID that its operator gave it must be the program.
                fits == Some(true) || (fits.is_none() && node.pid.is_none())
            });
            if is_node {
                found[at].1 = self.listening(pid, place, node);
            }
        }
    }

    /// Held first and asked then: what is said of its sockets and program is its own, if it has not ended since.
    fn listening(&self, pid: i32, (address, port): (IpAddr, u16), node: &Node) -> Found {
        match self.hold(pid.into()) {
            Found::Held(handle)
                if self.processes.listens(pid, address, port)
                    && self.fits(&handle, node) != Some(false)
                    && !handle.has_exited() =>
            {
                Found::Listens(handle)
            }
            Found::Held(_) => Found::Nobody,
            found => found,
        }
    }
}

/// The node's address where no resolver has to be asked.
fn address(node: &Node) -> Option<IpAddr> {
    if node.host == "localhost" { Some([127, 0, 0, 1].into()) } else { node.host.parse().ok() }
}
