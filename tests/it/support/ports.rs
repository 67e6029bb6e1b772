//! Free loopback ports that two tests do not get at the same time.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below Linux's default ephemeral range (32768 on), so that no outgoing connection takes one meanwhile.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that is held until it is handed over.
#[derive(Debug)]
pub struct HeldPort {
    listener: TcpListener,
}

impl HeldPort {
    /// Takes a free port; no other call in this process gets it again.
    pub fn take() -> Self {
        for _ in 0..10_000 {
            let port = RANGE.start + random_u16() % (RANGE.end - RANGE.start);
            let mut guard = HANDED_OUT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let taken = guard.get_or_insert_with(HashSet::new);
            if taken.contains(&port) {
                continue;
            }
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                taken.insert(port);
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

/// A free port, let go at once.
pub fn free_port() -> u16 {
    HeldPort::take().hand_over()
}

fn random_u16() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}
