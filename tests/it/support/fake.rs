//! Servers in this process that misbehave in one way each.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::ports::HeldPort;

/// What it does with a connection once the request has come.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Accepts and says nothing.
    Silent,
    /// Sends these bytes and closes.
    Says(Vec<u8>),
    /// Sends these bytes and keeps the connection open.
    SaysAndHolds(Vec<u8>),
    /// Sends the head of an answer and then a body without end.
    Endless,
    /// Closes at once.
    Closes,
}

impl Manner {
    /// A whole HTTP answer with this status line and body.
    pub fn answers(status: &str, body: &str) -> Self {
        Self::Says(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    }
}

/// Serves on a free port until the test ends; the port.
pub fn serve(manner: Manner) -> u16 {
    let held = HeldPort::take();
    let port = held.number();
    serve_on(held.into_listener(), manner);
    port
}

/// The same on a listener of the test's own.
pub fn serve_on(listener: TcpListener, manner: Manner) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let manner = manner.clone();
            thread::spawn(move || behave(stream, &manner));
        }
    });
}

fn behave(mut stream: TcpStream, manner: &Manner) {
    if matches!(manner, Manner::Closes) {
        return;
    }
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    if !matches!(manner, Manner::Silent) && !read_head(&mut stream) {
        return;
    }
    match manner {
        Manner::Closes => {}
        Manner::Says(bytes) => drop(stream.write_all(bytes)),
        Manner::SaysAndHolds(bytes) => {
            let _ = stream.write_all(bytes);
            hold(&mut stream);
        }
        Manner::Silent => hold(&mut stream),
        Manner::Endless => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
            let chunk = [b' '; 16 * 1024];
            if stream.write_all(head).is_ok() {
                while stream.write_all(&chunk).is_ok() {}
            }
        }
    }
}

fn read_head(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
    }
    true
}

/// Until the other side closes.
fn hold(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(n) if n > 0) {}
}
