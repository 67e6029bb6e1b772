//! A network between the service and its database, in this process: it can be cut, and it can lose one answer.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use crate::support::ports::HeldPort;

/// What becomes of the next COMMIT; then the network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It reaches the server, its answer does not come back.
    AnswerLost,
    /// It does not reach the server.
    Lost,
}

#[derive(Debug, Clone)]
struct State {
    /// Nothing is passed on, nothing is closed, connections are accepted.
    cut: watch::Sender<bool>,
    commit: Arc<Mutex<Option<Commit>>>,
    /// How long what is sent to the server takes, in milliseconds.
    delay: Arc<AtomicU64>,
}

/// The network; ends with this handle.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: State,
    _end: oneshot::Sender<()>,
}

impl Proxy {
    /// In front of a port. It has a thread of its own: a test's waits for SQL that goes through here.
    pub fn to(server: u16) -> Self {
        let state =
            State { cut: watch::Sender::new(false), commit: Arc::default(), delay: Arc::default() };
        let (end, ended) = oneshot::channel::<()>();
        let held = HeldPort::take();
        let port = held.number();
        let listener = held.into_listener();
        listener.set_nonblocking(true).unwrap();
        let passing = state.clone();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let accepting = async {
                    while let Ok((client, _)) = listener.accept().await {
                        tokio::spawn(connect(client, server, passing.clone()));
                    }
                };
                tokio::select! {
                    _ = ended => {}
                    () = accepting => {}
                }
            });
        });
        Self { port, state, _end: end }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing gets through; what stands is not closed, and never works again.
    pub fn cut(&self) {
        self.state.cut.send_replace(true);
    }

    /// New connections get through.
    pub fn mend(&self) {
        self.state.cut.send_replace(false);
    }

    /// Cuts the network at the next COMMIT.
    pub fn lose(&self, commit: Commit) {
        *self.state.commit.lock().unwrap() = Some(commit);
    }

    /// From now on what is sent to the server takes so long.
    pub fn slow(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap();
        self.state.delay.store(delay, Ordering::Relaxed);
    }

    /// Whether it was lost.
    pub fn is_cut(&self) -> bool {
        *self.state.cut.borrow()
    }
}

async fn connect(client: TcpStream, server: u16, state: State) {
    if *state.cut.borrow() {
        return hold(client).await;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let there = tokio::spawn(pass(from_client, to_server, state.clone(), true));
    pass(from_server, to_client, state, false).await;
    there.abort();
}

/// Until the client gives up.
async fn hold(mut client: TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(client.read(&mut buffer).await, Ok(n) if n > 0) {}
}

/// Passes on until an end closes, or the network is cut; then both ends stand for as long as the test lives.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: State, to_server: bool) {
    let mut cut = state.cut.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            () = until(&mut cut) => return std::future::pending().await,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        if to_server && buffer[..count].windows(6).any(|word| word == b"COMMIT") {
            let commit = state.commit.lock().unwrap().take();
            if commit.is_some() {
                // Before the server can answer.
                state.cut.send_replace(true);
            }
            if commit == Some(Commit::Lost) {
                return std::future::pending().await;
            }
        }
        if to_server {
            let delay = state.delay.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn until(cut: &mut watch::Receiver<bool>) {
    let _ = cut.wait_for(|cut| *cut).await;
}
