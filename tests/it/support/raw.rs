//! HTTP by hand over TCP, for requests that a client library would not send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends the bytes and reads until the server closes; what came, as text.
///
/// A request of HTTP/1.1 should say `Connection: close`; a server that keeps it open fails the test after `limit`.
pub fn exchange(port: u16, request: &str, limit: Duration) -> String {
    exchange_after(port, request, limit, || {})
}

/// The same; `sent` is called when the request is on its way.
pub fn exchange_after(port: u16, request: &str, limit: Duration, sent: impl FnOnce()) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(limit)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    sent();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    if let Err(error) = read
        && error.kind() != std::io::ErrorKind::ConnectionReset
    {
        panic!("{request:?}: {error} after {text:?}");
    }
    text
}

/// The status code of an answer as [`exchange`] gives it.
pub fn code(answer: &str) -> u16 {
    let code = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    code.unwrap_or_else(|| panic!("no status line in {answer:?}"))
}
