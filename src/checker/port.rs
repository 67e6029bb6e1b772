//! Method `port`: a TCP connect, and who listens where that can be seen.

use std::net::SocketAddr;
use std::time::Instant;

use super::patience::Subject;
use super::reach::{self, Unreached, numbered};
use super::table::{Table, hint};
use super::ways::Ways;
use crate::domain::Node;
use crate::domain::observation::{Listener, PortFacts, PortSeen};

/// Connects, closes, and looks for the listener.
pub async fn look<T: Table>(node: &Node, ways: &Ways, table: &T) -> PortFacts {
    let Ways { limits, names, .. } = ways;
    let began = Instant::now();
    let connected = reach::connect(names, &node.host, node.port, limits.connect_timeout).await;
    let latency = connected.is_ok().then(|| began.elapsed());
    let mut listener = None;
    let seen = match connected {
        Ok(stream) => {
            let peer = stream.peer_addr().ok();
            drop(stream);
            let (seen, found) = match peer {
                Some(peer) => who_listens(node, peer, ways, table).await,
                None => (PortSeen::Open, None),
            };
            listener = found;
            seen
        }
        Err(Unreached::Timeout) => PortSeen::Timeout(limits.connect_timeout),
        Err(Unreached::Dns(text)) => PortSeen::Dns(text),
        Err(Unreached::Refused(error)) => PortSeen::Closed(numbered(&error)),
        Err(Unreached::Io(error)) => PortSeen::Io(numbered(&error)),
        Err(Unreached::Unable(error)) => PortSeen::Unable(numbered(&error)),
    };
    PortFacts { host: node.host.clone(), port: node.port, seen, listener, latency }
}

/// Another program on the port is not our node; one that cannot be seen may be.
async fn who_listens<T: Table>(
    node: &Node,
    peer: SocketAddr,
    ways: &Ways,
    table: &T,
) -> (PortSeen, Option<Listener>) {
    if !table.is_local(peer.ip()) {
        return (PortSeen::Open, None);
    }
    let (table, name, hint) = (table.clone(), node.process_name.clone(), hint(node, node.pid));
    // Looking for a socket's owner may read every process's descriptors.
    let Ways { limits, patience, .. } = ways;
    let looking =
        patience.wait(node.id, Subject::Listener(node.port), limits.api_timeout, move || {
            let pid = table.listener(peer.ip(), peer.port(), hint)?;
            Some((pid, table.program(pid, &name)))
        });
    match looking.await.flatten() {
        Some((pid, program)) => {
            let seen = if program.fits == Some(false) { PortSeen::Taken } else { PortSeen::Open };
            (seen, Some(Listener { pid, program: program.name }))
        }
        None => (PortSeen::Open, None),
    }
}
