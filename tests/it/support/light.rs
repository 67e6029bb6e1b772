//! Nodes of no substance in this process: each a port that answers as `monero-wallet-rpc` does, or does not, as a test
//! wants. They have a thread of their own, so a test that waits for something else keeps none of them waiting.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::ports::HeldPort;

/// What a node does from now on, also on connections that stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It answers `get_version`.
    Answers,
    /// It takes the request and says nothing.
    Hangs,
    /// It says so many bytes of the answer, and no more.
    HangsAfter(usize),
    /// It answers one byte a second.
    Dribbles,
    /// It says 500.
    Fails,
    /// Nobody listens, and its connections are closed.
    Closed,
}

/// The thread; ends with this handle.
#[derive(Debug)]
pub struct Lights {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

/// One node.
#[derive(Debug)]
pub struct Light {
    port: u16,
    does: watch::Sender<Does>,
}

impl Lights {
    /// Starts the thread.
    pub fn start() -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || drop(runtime.block_on(ended)));
        Self { runtime: handle, _end: end }
    }

    /// A node on a port of its own.
    pub fn node(&self, does: Does) -> Light {
        let held = HeldPort::take();
        let port = held.number();
        let listener = held.into_listener();
        listener.set_nonblocking(true).unwrap();
        let (sender, receiver) = watch::channel(does);
        self.runtime.spawn(async move {
            live(TcpListener::from_std(listener).unwrap(), port, receiver).await;
        });
        Light { port, does: sender }
    }
}

impl Light {
    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on it does this.
    pub fn set(&self, does: Does) {
        self.does.send_replace(does);
    }

    /// What it does.
    pub fn does(&self) -> Does {
        *self.does.borrow()
    }
}

async fn live(listener: TcpListener, port: u16, mut does: watch::Receiver<Does>) {
    let mut listener = Some(listener);
    loop {
        if *does.borrow_and_update() == Does::Closed {
            listener = None;
            if does.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(bound) = &listener else {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            continue;
        };
        tokio::select! {
            changed = does.changed() => if changed.is_err() { return },
            accepted = bound.accept() => {
                if let Ok((stream, _)) = accepted {
                    let mut closed = does.clone();
                    let does = does.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = talk(stream, does) => {}
                            _ = closed.wait_for(|it| *it == Does::Closed) => {}
                        }
                    });
                }
            }
        }
    }
}

async fn talk(mut stream: TcpStream, does: watch::Receiver<Does>) {
    let (mut held, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => held.extend_from_slice(&buffer[..count]),
        }
        let Some(id) = id_of(&held) else { continue };
        held.clear();
        let now = *does.borrow();
        let answered = match now {
            Does::Answers => stream.write_all(answer(&id).as_bytes()).await,
            Does::Fails => stream.write_all(FAILURE).await,
            Does::Hangs => return hold(stream).await,
            Does::HangsAfter(bytes) => {
                let answer = answer(&id);
                let _ = stream.write_all(&answer.as_bytes()[..bytes.min(answer.len() - 1)]).await;
                return hold(stream).await;
            }
            Does::Dribbles => dribble(&mut stream, answer(&id).as_bytes()).await,
            Does::Closed => return,
        };
        if answered.is_err() {
            return;
        }
    }
}

const FAILURE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// The id of a request that is whole.
fn id_of(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(body["id"].to_string())
}

/// As the real one answers, with the id that was asked with.
pub fn answer(id: &str) -> String {
    let body = format!(
        "{{\n  \"id\": {id},\n  \"jsonrpc\": \"2.0\",\n  \"result\": {{\n    \"release\": true,\n    \"version\": 65562\n  }}\n}}"
    );
    format!(
        "HTTP/1.1 200 Ok\r\nServer: Epee-based\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\
         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\r\n{body}",
        body.len()
    )
}

async fn dribble(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Until the other side closes.
async fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 256];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}
