//! A connection that asks for nothing but `/health` or `/livez`, as a load balancer's does: answered without hyper, from
//! bytes that stay what they are until the answer or the second is another. One of the places that are shaped by speed.
//!
//! It understands one plain GET at a time. Whatever else comes, half of a request or more than one, is given on with all
//! that was read, and the connection is hyper's from there on.

use std::io::Write as _;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::AppState;
use super::error::RETRY_AFTER_SECS;
use super::health;
use crate::clock;
use crate::domain::{Now, Uptime};

/// Longest request that is understood here, in bytes; a load balancer's has a hundred.
const ROOM: usize = 1024;

/// Most headers of such a request.
const MOST_HEADERS: usize = 16;

/// The answers of one connection.
#[derive(Debug, Default)]
pub(super) struct Glance {
    /// The last one, as it is sent.
    bytes: Vec<u8>,
    of: Option<Of>,
}

/// What an answer was made of, and until when it stays the same.
#[derive(Debug)]
struct Of {
    status: StatusCode,
    body: Bytes,
    /// The end of the second that its date names.
    until: Uptime,
}

/// What became of the connection.
#[derive(Debug)]
pub(super) enum Step {
    /// A request was answered.
    Answered,
    /// And so many bytes of the answer went out; the client does not take the rest now.
    Rest(usize),
    /// Something came that is not understood here.
    More(Bytes),
    /// It ended.
    End,
}

impl Glance {
    /// Answers the next request once it is there. Nothing is lost if it is not waited for.
    pub(super) fn poll(
        &mut self,
        stream: &mut TcpStream,
        state: &AppState,
        context: &mut Context<'_>,
    ) -> Poll<Step> {
        // A buffer of its own only while a request is read.
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut came = ReadBuf::uninit(&mut room);
        let mut stream = Pin::new(stream);
        if ready!(stream.as_mut().poll_read(context, &mut came)).is_err() {
            return Poll::Ready(Step::End);
        }
        let came = came.filled();
        if came.is_empty() {
            return Poll::Ready(Step::End);
        }
        let up = clock::uptime();
        let answer = path(came).and_then(|path| health::plain(state, path, up));
        let Some((status, body)) = answer else {
            return Poll::Ready(Step::More(Bytes::copy_from_slice(came)));
        };
        let bytes = self.answer(status, body, up);
        Poll::Ready(match stream.poll_write(context, bytes) {
            Poll::Ready(Ok(sent)) if sent == bytes.len() => Step::Answered,
            Poll::Ready(Ok(sent)) => Step::Rest(sent),
            Poll::Ready(Err(_)) => Step::End,
            Poll::Pending => Step::More(Bytes::copy_from_slice(came)),
        })
    }

    /// What of the last answer was not sent.
    pub(super) fn rest(&self, sent: usize) -> &[u8] {
        self.bytes.get(sent..).unwrap_or_default()
    }

    fn answer(&mut self, status: StatusCode, body: Bytes, up: Uptime) -> &[u8] {
        let stays = self.of.as_ref().is_some_and(|of| {
            of.status == status
                && up < of.until
                && (of.body.as_ptr(), of.body.len()) == (body.as_ptr(), body.len())
        });
        if !stays {
            let now = clock::now();
            write(&mut self.bytes, status, &body, now);
            let left = 1000 - now.wall.0.rem_euclid(1000);
            self.of = Some(Of { status, body, until: Uptime(now.up.0.saturating_add(left)) });
        }
        &self.bytes
    }
}

/// An answer as hyper would write it.
fn write(into: &mut Vec<u8>, status: StatusCode, body: &[u8], now: Now) {
    into.clear();
    // Writing to a Vec cannot fail.
    let _ = write!(
        into,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let _ = write!(into, "retry-after: {RETRY_AFTER_SECS}\r\n");
    }
    let date = now.wall.http_date();
    let _ = write!(into, "content-length: {}\r\ndate: {date}\r\n\r\n", body.len());
    into.extend_from_slice(body);
}

/// The path of a plain GET that is all that came: HTTP/1.1, no body, a connection that stays.
fn path(came: &[u8]) -> Option<&str> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let whole = request.parse(came).ok()? == httparse::Status::Complete(came.len());
    let plain = whole
        && request.method == Some("GET")
        && request.version == Some(1)
        && request.headers.iter().all(|header| is_harmless(header.name, header.value));
    request.path.filter(|_| plain)
}

/// Does a header leave the body, the connection and the protocol as they are?
fn is_harmless(name: &str, value: &[u8]) -> bool {
    const NOT: [&str; 4] = ["content-length", "transfer-encoding", "expect", "upgrade"];
    if name.eq_ignore_ascii_case("connection") {
        return value.eq_ignore_ascii_case(b"keep-alive");
    }
    !NOT.iter().any(|not| name.eq_ignore_ascii_case(not))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn only_a_plain_get_that_is_all_that_came_is_understood() {
        let health = |request: &str| path(request.as_bytes()).map(str::to_owned);
        for plain in [
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /health HTTP/1.1\nHost: x\n\n",
            "GET /health HTTP/1.1\r\nconnection: Keep-Alive\r\nX: y\r\n\r\n",
        ] {
            assert_eq!(health(plain).as_deref(), Some("/health"), "{plain}");
        }
        for other in [
            "",
            "GET /hea",
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea",
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
            "GET /health HTTP/1.0\r\n\r\n",
            "HEAD /health HTTP/1.1\r\n\r\n",
            "OPTIONS /health HTTP/1.1\r\n\r\n",
            "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
            "GET /health HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /health HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /health HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(health(other), None, "{other}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(health(&many), None);
    }

    #[test]
    fn an_answer_is_written_anew_only_where_it_is_another() {
        let mut glance = Glance::default();
        let body = Bytes::from_static(b"{}");
        let first = glance.answer(StatusCode::OK, body.clone(), Uptime(1)).to_vec();
        assert!(first.starts_with(b"HTTP/1.1 200 OK\r\n") && first.ends_with(b"\r\n\r\n{}"));
        let lasts = |glance: &Glance| glance.of.as_ref().map(|of| of.until);
        glance.of.as_mut().unwrap().until = Uptime(i64::MAX);
        glance.answer(StatusCode::OK, body.clone(), Uptime(1));
        assert_eq!(lasts(&glance), Some(Uptime(i64::MAX)), "the same again");
        let busy = glance.answer(StatusCode::SERVICE_UNAVAILABLE, body, Uptime(1)).to_vec();
        assert!(busy.starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(busy.windows(14).any(|at| at == b"retry-after: 2"));
        glance.of.as_mut().unwrap().until = Uptime(i64::MAX);
        glance.answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"[]"), Uptime(1));
        assert!(glance.bytes.ends_with(b"[]"), "another body");
        assert_ne!(lasts(&glance), Some(Uptime(i64::MAX)));
        glance.of.as_mut().unwrap().until = Uptime(0);
        glance.answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"[]"), Uptime(1));
        assert_ne!(lasts(&glance), Some(Uptime(0)), "another second");
    }

    /// RFC 9110, section 5.6.7.
    #[test]
    fn the_date_is_that_of_http() {
        let mut bytes = Vec::new();
        let now = Now { wall: Timestamp(784_111_777_000), up: Uptime(0) };
        write(&mut bytes, StatusCode::OK, b"", now);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{text}");
    }
}
