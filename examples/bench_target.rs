//! What `scripts/bench` lets procwarden and the others look at: many wallets of no substance on one core.
//!
//! `bench_target PORT HOSTS [--close]` listens on 127.0.1.1, 127.0.1.2, ... (250 of each /24), on that port, and says
//! `ready`. A POST is answered as `monero-wallet-rpc` answers `get_version`, with the id that was asked with; any other
//! request with a short text; with `--close` the connection is closed after each answer. On 127.0.0.1 and the next
//! port it accepts and says nothing. `GET /seen` tells how many other requests there were since it was asked last, and
//! the microseconds between the first of them and the last.

use std::cell::Cell;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Larger than any request of those that ask.
const BUFFER: usize = 4096;

#[derive(Debug, Default)]
struct Seen {
    count: Cell<u64>,
    first: Cell<Option<Instant>>,
    last: Cell<Option<Instant>>,
}

impl Seen {
    fn note(&self) {
        let now = Instant::now();
        self.count.set(self.count.get() + 1);
        self.first.set(self.first.get().or(Some(now)));
        self.last.set(Some(now));
    }

    fn take(&self) -> String {
        let span = match (self.first.take(), self.last.take()) {
            (Some(first), Some(last)) => last.duration_since(first).as_micros(),
            _ => 0,
        };
        format!("{} {span}\n", self.count.take())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, hosts, closes) = match &arguments[..] {
        [port, hosts] => (port.parse()?, hosts.parse()?, false),
        [port, hosts, flag] if flag == "--close" => (port.parse()?, hosts.parse()?, true),
        _ => return Err("usage: bench_target PORT HOSTS [--close]".into()),
    };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(port, hosts, closes))
}

async fn serve(port: u16, hosts: u16, closes: bool) -> Result<(), Box<dyn Error>> {
    let seen = Rc::new(Seen::default());
    for host in 0..hosts {
        let [third, fourth] = [host / 250 + 1, host % 250 + 1].map(u8::try_from);
        let listener = listen((Ipv4Addr::new(127, 0, third?, fourth?), port).into())?;
        let seen = Rc::clone(&seen);
        spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(spawn_local(answer(stream, Rc::clone(&seen), closes))),
                    // Out of descriptors, mostly: until some are closed.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
    }
    let silent = listen((Ipv4Addr::LOCALHOST, port + 1).into())?;
    println!("ready");
    loop {
        let Ok((mut stream, _)) = silent.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        spawn_local(async move {
            let mut buffer = [0; 256];
            while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
        });
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

async fn answer(mut stream: TcpStream, seen: Rc<Seen>, closes: bool) {
    let mut buffer = [0; BUFFER];
    let mut held = 0;
    loop {
        match stream.read(&mut buffer[held..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => held += count,
        }
        let Some(size) = whole(&buffer[..held]) else { continue };
        let (reply, ends) = reply(&buffer[..size], &seen, closes);
        if stream.write_all(reply.as_bytes()).await.is_err() || ends {
            return;
        }
        buffer.copy_within(size..held, 0);
        held -= size;
    }
}

/// The size of the first request, once all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let length = header(&bytes[..head], "content-length").and_then(|it| it.parse().ok());
    let size = head + length.unwrap_or(0);
    (size <= bytes.len()).then_some(size)
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.lines();
    let mut pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn reply(request: &[u8], seen: &Seen, closes: bool) -> (String, bool) {
    let text = std::str::from_utf8(request).unwrap_or_default();
    let body = if text.starts_with("GET /seen ") {
        seen.take()
    } else {
        seen.note();
        let id = text.rsplit_once("\"id\":\"").and_then(|(_, rest)| rest.split('"').next());
        match id.filter(|_| text.starts_with("POST")) {
            Some(id) => {
                format!(
                    r#"{{"id":"{id}","jsonrpc":"2.0","result":{{"release":true,"version":65562}}}}"#
                )
            }
            None => "wallet\n".to_owned(),
        }
    };
    let asked = header(request, "connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
    let ends = closes || asked || text.lines().next().is_some_and(|it| it.ends_with("HTTP/1.0"));
    let connection = if ends { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{connection}\r\n",
        body.len()
    );
    let body = if text.starts_with("HEAD") { String::new() } else { body };
    (head + &body, ends)
}
