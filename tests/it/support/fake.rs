//! Servers in this process that misbehave in one way each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
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
    /// A whole HTTP answer with this status line and body, and the end of the connection.
    pub fn answers(status: &str, body: &str) -> Self {
        Self::Says(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    }
}

/// Serves on a free port until the test ends; the port.
pub fn serve(manner: Manner) -> u16 {
    serve_by(move |_| manner.clone())
}

/// The same with a manner chosen for each request; an empty one before anything was read.
pub fn serve_by(choose: impl Fn(&str) -> Manner + Send + Sync + 'static) -> u16 {
    let held = HeldPort::take();
    let port = held.number();
    let listener = held.into_listener();
    let choose = Arc::new(choose);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let choose = choose.clone();
            thread::spawn(move || behave(stream, choose.as_ref()));
        }
    });
    port
}

fn behave(mut stream: TcpStream, choose: &dyn Fn(&str) -> Manner) {
    // A test that is over lets nobody wait.
    let _ = stream.set_read_timeout(Some(Duration::from_mins(5)));
    if let Manner::Closes = choose("") {
        return;
    }
    let Some(request) = read_request(&mut stream) else { return };
    match choose(&request) {
        Manner::Closes => {}
        Manner::Says(bytes) => drop(stream.write_all(&bytes)),
        Manner::SaysAndHolds(bytes) => {
            let _ = stream.write_all(&bytes);
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

/// Head and body of one request; none if the other side closed before.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
        let text = String::from_utf8_lossy(&seen);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= content_length(head)
        {
            return Some(text.into_owned());
        }
    }
}

fn content_length(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Until the other side closes.
fn hold(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(n) if n > 0) {}
}
