//! One HTTP/1.1 connection to a node, kept between checks.
//!
//! No task and no buffer stands behind it: at rest it is a socket, a nonce and a count, a hundred thousand times over.
//! Dropping it closes the socket at once, so whoever drops an exchange in the middle leaves no half-read answer behind
//! for the next one.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::digest::Session;
use super::reach::plain;
use super::tls;
use super::wire::{self, Body, Head, Length};
use crate::domain::Uptime;

/// Room for an answer: a real one has 300 bytes, a challenge 500.
const ROOM: usize = 1024;

/// In clear, or in TLS, which is large.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Is there nothing to read, not even the end?
fn is_quiet(stream: &mut Stream, context: &mut Context<'_>) -> bool {
    match stream {
        // Without leaving word for the reactor, which costs more.
        Either::Left(tcp) => {
            tcp.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        }
        Either::Right(tls) => {
            let mut byte = [0];
            Pin::new(tls).poll_read(context, &mut ReadBuf::new(&mut byte)).is_pending()
        }
    }
}

/// Why an exchange failed.
#[derive(Debug)]
pub enum Broken {
    /// Closed or reset before the answer's head was whole.
    Closed,
    /// Closed or reset inside the answer's body.
    Cut,
    /// What came is no HTTP, or too much of it.
    NotHttp(wire::Fault),
    /// TLS failed.
    Tls(String),
    /// Something else.
    Io(String),
}

/// A connection, and the nonce that belongs to it. It goes from hand to hand with each exchange, boxed.
pub struct Connection {
    stream: Stream,
    /// The last answer was read to its end, nothing came after it, and the server goes on.
    fit: bool,
    /// The nonce in use; it means nothing on any other connection (measured: the server calls it stale).
    pub session: Option<Session>,
    /// Requests sent so far, for their ids.
    pub asked: u64,
    /// Its place among the kept ones, once it has one.
    pub place: Option<OwnedSemaphorePermit>,
    /// Since when it rests, by the clock that stands still while the machine sleeps and by the one that does not.
    rests: Option<(Instant, Uptime)>,
}

/// The two clocks are read one after the other, on a machine that may be busy.
const APART: Duration = Duration::from_secs(1);

/// Did the machine sleep, if so much passed by the clock that stands still then, and so much in truth?
fn slept(awake: Duration, passed: Duration) -> bool {
    passed.saturating_sub(awake) > APART
}

/// How much is read of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Its head and its body.
    Whole,
    /// Its head; the body if it is short, so that the connection can be kept.
    IfShort,
    /// Its head.
    Nothing,
}

/// An answer, as much of it as was read.
#[derive(Debug)]
pub struct Answer {
    /// What its head says.
    pub head: Head,
    raw: Vec<u8>,
    body: Range<usize>,
}

impl Answer {
    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.raw.get(self.body.clone()).unwrap_or_default()
    }
}

impl Connection {
    /// Makes an HTTP connection of a TCP one, with TLS where a configuration is given.
    ///
    /// # Errors
    /// The TLS handshake failed.
    pub async fn open(
        stream: TcpStream,
        host: &str,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Box<Self>, Broken> {
        let stream = match tls {
            None => Either::Left(stream),
            Some(config) => Either::Right(secure(stream, host, config).await?),
        };
        Ok(Box::new(Self { stream, fit: true, session: None, asked: 0, place: None, rests: None }))
    }

    /// It is kept from now on.
    pub fn rest(&mut self, up: Uptime) {
        self.rests = Some((Instant::now(), up));
    }

    /// Did the machine sleep since it rests? The other end may have given it up meanwhile, and be silent about it.
    #[must_use]
    pub fn overslept(&self, now: Instant, up: Uptime) -> bool {
        self.rests.is_some_and(|(at, since)| slept(now.duration_since(at), up.since(since)))
    }

    /// May another request be sent on it?
    #[must_use]
    pub const fn is_fit(&self) -> bool {
        self.fit
    }

    /// Sends a whole request and reads its answer, as much as `reads` says of its status.
    ///
    /// # Errors
    /// [`Broken::Closed`] when the server closed it, now or with its last answer.
    pub async fn ask(
        &mut self,
        request: &[u8],
        reads: impl Fn(u16) -> Reads,
    ) -> Result<Answer, Broken> {
        if !self.fit {
            return Err(Broken::Closed);
        }
        self.fit = false;
        self.stream.write_all(request).await.map_err(|error| broken(&error))?;
        // TLS may hold back the end of what was written.
        self.stream.flush().await.map_err(|error| broken(&error))?;
        let mut raw = Vec::with_capacity(ROOM);
        let head = self.read_head(&mut raw).await?;
        let is_read = match reads(head.status) {
            Reads::Whole => true,
            Reads::IfShort => matches!(head.length, Length::Bytes(bytes) if bytes <= wire::LIMIT),
            Reads::Nothing => false,
        };
        if is_read { self.read_body(head, raw).await } else { Ok(Answer { head, raw, body: 0..0 }) }
    }

    /// Has nothing come since the last answer, not even the end? What came unasked would be taken for the next one.
    pub async fn is_quiet(&mut self) -> bool {
        // A task that has used up its turn would be told that nothing came.
        tokio::task::coop::unconstrained(poll_fn(|context| {
            Poll::Ready(is_quiet(&mut self.stream, context))
        }))
        .await
    }

    async fn read_head(&mut self, raw: &mut Vec<u8>) -> Result<Head, Broken> {
        loop {
            let known = raw.len();
            if self.stream.read_buf(raw).await.map_err(|error| broken(&error))? == 0 {
                return Err(Broken::Closed);
            }
            // A head gets further by whole lines; one that comes in single bytes is not parsed for each of them.
            let worth = known == 0 || raw.len() > wire::LIMIT || raw[known..].contains(&b'\n');
            if worth && let Some(head) = wire::head(raw).map_err(Broken::NotHttp)? {
                return Ok(head);
            }
        }
    }

    async fn read_body(&mut self, head: Head, mut raw: Vec<u8>) -> Result<Answer, Broken> {
        let mut body = Body::new(head.length);
        let mut closed = false;
        loop {
            if let Some(whole) = body.look(&raw[head.size..], closed).map_err(Broken::NotHttp)? {
                let end = head.size + whole.used;
                self.fit = head.stays && !closed && end == raw.len();
                let (raw, body) = match whole.chunks {
                    Some(chunks) => (chunks, 0..usize::MAX),
                    None => (raw, head.size..end),
                };
                let body = body.start..body.end.min(raw.len());
                return Ok(Answer { head, raw, body });
            }
            if closed {
                return Err(Broken::Cut);
            }
            closed = match self.stream.read_buf(&mut raw).await {
                Ok(read) => read == 0,
                Err(error) => {
                    return Err(match broken(&error) {
                        Broken::Closed => Broken::Cut,
                        other => other,
                    });
                }
            };
        }
    }
}

async fn secure(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Box<TlsStream<TcpStream>>, Broken> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Broken::Tls("the host is no name that a certificate can have".to_owned()))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(match tls_text(&error) {
            Some(text) => Broken::Tls(text),
            None if is_end(&error) => Broken::Tls("closed during the handshake".to_owned()),
            None => Broken::Io(plain(&error)),
        }),
    }
}

fn tls_text(error: &io::Error) -> Option<String> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(tls::explain)
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected
    )
}

fn broken(error: &io::Error) -> Broken {
    match tls_text(error) {
        Some(text) => Broken::Tls(text),
        None if is_end(error) => Broken::Closed,
        None => Broken::Io(plain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_stood_still_says_that_the_machine_slept() {
        let secs = Duration::from_secs;
        for (awake, passed, expected) in [
            (0, 0, false),
            (30, 30, false),
            (30, 31, false),
            (30, 32, true),
            (5, 605, true),
            (600, 30, false),
        ] {
            assert_eq!(slept(secs(awake), secs(passed)), expected, "{awake} {passed}");
        }
    }
}
