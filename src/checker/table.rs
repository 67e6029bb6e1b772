//! What the checks ask the process table, so that they can be asked of a made-up one in tests.

use std::net::IpAddr;

use crate::domain::process::Presence;
use crate::domain::{Exit, Here, Identity, Node};

/// A process table, cheap to clone. All of it blocks for microseconds, `listener` for milliseconds.
pub trait Table: Clone + Send + Sync + 'static {
    /// Whose PID table this is.
    fn here(&self) -> &Here;
    /// Who lives under a PID.
    fn look(&self, pid: i64) -> Presence;
    /// What it runs, compared with the `name` that it should have.
    fn program(&self, pid: i32, name: &str) -> Program;
    /// Who owns the socket that listens on this address, where we may see it.
    fn listener(&self, address: IpAddr, port: u16, hint: Option<i32>) -> Option<i32>;
    /// How the last process under a PID ended, where that was witnessed and it was not another than `recorded`.
    fn end(&self, pid: i64, recorded: Option<&Identity>) -> Option<Exit>;
    /// Is this an address of this host?
    fn is_local(&self, address: IpAddr) -> bool;
}

/// The program of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// File name of its executable, or the nearest to it that can be seen.
    pub name: String,
    /// Whether it is the one that it should be; `None` where that cannot be told.
    pub fits: Option<bool>,
    /// Its command line, secrets masked.
    pub cmdline: Option<String>,
}

/// The PID that is asked first for a node's listening socket: a forked server's may have several owners,
/// and the one that the user named counts before the one that was seen.
pub fn hint(node: &Node, given: Option<i64>) -> Option<i32> {
    let recorded = node.identity.as_ref().map(|identity| identity.pid);
    given.and_then(|pid| i32::try_from(pid).ok()).or(recorded)
}
