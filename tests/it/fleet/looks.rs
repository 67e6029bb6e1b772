//! Nodes in this process that see which instance looks at them: each connection is traced to the process at its other
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::kernel;
use crate::support::ports::HeldPort;
use crate::support::{Warden, eventually};

/// Several nodes; they answer as wallets do until they are broken.
pub struct Looked {
    ports: Vec<u16>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Those who may look, by PID.
    lookers: Mutex<BTreeMap<i32, String>>,
    /// Port, and who looked at it.
    looks: Mutex<Vec<(u16, String)>>,
    broken: AtomicBool,
    /// Whether it is asked for who looks: to find out is work.
    asked: AtomicBool,
}

impl Looked {
    /// So many nodes on ports of their own, until the test ends.
    pub fn at(count: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let ports = (0..count)
            .map(|_| {
                let held = HeldPort::take();
                let port = held.number();
                let (listener, seen) = (held.into_listener(), seen.clone());
                thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let seen = seen.clone();
                        thread::spawn(move || answer(stream, port, &seen));
                    }
                });
                port
            })
            .collect();
        Self { ports, seen }
    }

    /// `NAME-0`, `NAME-1`, ... with the keys that make them anybody's.
    pub fn anywhere(&self, name: &str) -> Vec<serde_json::Value> {
        let ports = self.ports.iter().enumerate();
        ports.map(|(at, port)| super::anywhere(&format!("{name}-{at}"), *port)).collect()
    }

    /// The port of the node with this number.
    pub fn port(&self, at: usize) -> u16 {
        self.ports[at]
    }

    /// Whoever runs under this name from now on is told apart.
    pub fn knows(&self, name: &str, warden: &Warden) {
        self.seen.lookers.lock().unwrap().insert(warden.pid(), name.to_owned());
    }

    /// From now on they answer with nonsense, or well again.
    pub fn break_down(&self, broken: bool) {
        self.seen.broken.store(broken, Ordering::Relaxed);
    }

    /// Waits until each node is looked at by that one instance alone: `wanted` gives the names, in the nodes' order. Who
    /// gave a node away may be in the middle of a look.
    pub async fn are_looked_at_by(&self, wanted: impl Fn() -> Vec<String>) {
        eventually(super::SOON, || async {
            let before = wanted();
            let seen = self.lookers().await;
            let one_each =
                seen.iter().zip(&before).all(|(who, one)| who.len() == 1 && who.contains(one));
            let good = one_each && wanted() == before;
            if good { Ok(()) } else { Err(format!("{seen:?}, not {before:?}")) }
        })
        .await;
    }

    /// Forgets what was seen, and waits until each was looked at three times since; who looked at each.
    async fn lookers(&self) -> Vec<BTreeSet<String>> {
        self.seen.looks.lock().unwrap().clear();
        self.seen.asked.store(true, Ordering::Relaxed);
        eventually(super::SOON, || async {
            let looks = self.seen.looks.lock().unwrap();
            let of = |port: &u16| looks.iter().filter(|(at, _)| at == port).count();
            let counts: Vec<usize> = self.ports.iter().map(of).collect();
            if counts.iter().all(|count| *count >= 3) { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        self.seen.asked.store(false, Ordering::Relaxed);
        let looks = self.seen.looks.lock().unwrap();
        let of = |port: &u16| {
            let its = looks.iter().filter(|(at, _)| at == port);
            its.map(|(_, who)| who.clone()).collect()
        };
        self.ports.iter().map(of).collect()
    }
}

fn answer(mut stream: TcpStream, port: u16, seen: &Seen) {
    let _ = stream.set_read_timeout(Some(Duration::from_mins(1)));
    let Ok(from) = stream.peer_addr() else { return };
    let mut buffer = [0; 4096];
    let mut text = String::new();
    while !text.contains("get_version") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
        }
    }
    if seen.asked.load(Ordering::Relaxed) {
        // While the other side waits for the answer, its end of the connection stands.
        let mut lookers = seen.lookers.lock().unwrap().clone();
        let pid = kernel::connector(lookers.keys().copied(), from.port());
        let who = pid.and_then(|pid| lookers.remove(&pid)).unwrap_or_else(|| "somebody".to_owned());
        seen.looks.lock().unwrap().push((port, who));
    }
    let id = text.split(r#""id":""#).nth(1).and_then(|rest| rest.split('"').next());
    let body = match (id, seen.broken.load(Ordering::Relaxed)) {
        (Some(id), false) => {
            format!(r#"{{"id":"{id}","jsonrpc":"2.0","result":{{"version":65562}}}}"#)
        }
        _ => "no wallet".to_owned(),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}
