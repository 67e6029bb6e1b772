//! Free loopback ports that two tests do not get at the same time, in whichever process of this machine they run.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Below Linux's default ephemeral range (32768 on), so that no outgoing connection takes one meanwhile.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// What claims the ports of this process until it ends. A node's port is let go when the node is to be closed: no server of
/// another run may answer there meanwhile.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port that is held until it is handed over.
#[derive(Debug)]
pub struct HeldPort {
    listener: TcpListener,
}

impl HeldPort {
    /// Takes a free port; no other call gets it again while this process lives.
    pub fn take() -> Self {
        for _ in 0..10_000 {
            let port = RANGE.start + random_u16() % (RANGE.end - RANGE.start);
            let Some(claim) = claim(port) else { continue };
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
                return Self { listener };
            }
        }
        panic!("no free port between {} and {}", RANGE.start, RANGE.end);
    }

    /// Its number, while it is held.
    pub fn number(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Lets it go and says which it was: for the program that binds it next.
    pub fn hand_over(self) -> u16 {
        self.number()
    }

    /// The listener itself, for a server in this process.
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// A name of the kernel's that one process has at a time, and that goes with it.
fn claim(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("procwarden-test-port-{port}")).unwrap();
    UnixListener::bind_addr(&name).ok()
}

/// A free port, let go at once.
pub fn free_port() -> u16 {
    HeldPort::take().hand_over()
}

fn random_u16() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}

#[test]
fn a_port_that_was_let_go_is_nobody_elses() {
    let port = free_port();
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "it is free");
    assert!(claim(port).is_none(), "for whoever has it from here");
}
