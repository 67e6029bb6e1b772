//! Several instances over one database: who answers for what, who lives, and who may bear a name. Pure.
//!
//! [`Placement`] says where a node belongs, [`plan`] and [`to_claim`] who shall own it, [`live`] whose heartbeat
//! holds, [`Patience`] whether that may be believed yet, and [`name_step`] what a starting instance does about its name.

mod lease;
mod share;

use std::net::{IpAddr, Ipv6Addr};

use super::node::{ANY, Node};

pub use lease::{Heartbeat, NameRow, NameStep, Patience, live, name_step};
pub use share::{Share, plan, to_claim};

/// Who shall answer for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement<'a> {
    /// Every instance can reach it; it is shared out.
    Any,
    /// Only this instance.
    On(&'a str),
}

impl<'a> Placement<'a> {
    /// The operator's word first. Without it a node with a PID or a PID file, or on a loopback address, means
    /// something only on its host: it belongs to the instance that it was registered with.
    #[must_use]
    pub fn of(node: &'a Node) -> Self {
        match node.placement.as_deref() {
            Some(ANY) => Self::Any,
            Some(name) => Self::On(name),
            None if node.pid.is_some() || node.pid_file.is_some() || is_loopback(&node.host) => {
                Self::On(&node.instance)
            }
            None => Self::Any,
        }
    }

    /// Who answers for the node: its operator's word counts before the row says that it was followed. Nobody, if it was
    /// released.
    #[must_use]
    pub fn answers(self, owner: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::On(name) => owner.map(|_| name),
            Self::Any => owner,
        }
    }

    /// May this instance look at the node, if it owns it?
    #[must_use]
    pub fn allows(self, instance: &str) -> bool {
        match self {
            Self::Any => true,
            Self::On(name) => name == instance,
        }
    }
}

/// Does this host name or address mean each machine itself? (RFC 6761, section 6.3: `localhost` and
/// every name under it are loopback.)
fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
    match bare.parse::<IpAddr>() {
        // A connection to the unspecified address is one to this machine (ip(7), INADDR_ANY on Linux).
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_unspecified(),
        Ok(IpAddr::V6(address)) => is_loopback_v6(address),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

fn is_loopback_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback() || v4.is_unspecified())
}
