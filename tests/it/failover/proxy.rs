//! A network between the service and its database, in this process: it can be cut, and it can lose one answer.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it does.
#[derive(Debug, Clone)]
struct State {
    /// Nothing is passed on, nothing is closed, connections are accepted.
    cut: watch::Sender<bool>,
    /// The next COMMIT is passed on, and from then on the network is cut.
    loses_commit: Arc<AtomicBool>,
}

/// The network; ends with this handle.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: State,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of a port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state =
            State { cut: watch::Sender::new(false), loses_commit: Arc::new(AtomicBool::new(false)) };
        let accepting = tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connect(client, server, state.clone()));
                }
            }
        });
        Self { port, state, accepting }
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

    /// The next COMMIT reaches the server, its answer and all that follows are lost.
    pub fn lose_commit(&self) {
        self.state.loses_commit.store(true, Ordering::SeqCst);
    }

    /// Whether it was lost.
    pub fn is_cut(&self) -> bool {
        *self.state.cut.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
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
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            () = until(&mut cut) => return std::future::pending().await,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        let lost = to_server
            && buffer[..count].windows(6).any(|word| word == b"COMMIT")
            && state.loses_commit.swap(false, Ordering::SeqCst);
        if lost {
            // Before the server can answer.
            state.cut.send_replace(true);
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn until(cut: &mut watch::Receiver<bool>) {
    let _ = cut.wait_for(|cut| *cut).await;
}
