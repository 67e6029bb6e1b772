//! One HTTP/1.1 connection to a node, kept between checks.
//!
//! No task stands behind it: the connection is driven while a request is under way and lies still
//! otherwise. Dropping it closes the socket at once, so whoever drops an exchange in the middle leaves no
//! half-read answer behind for the next one.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::digest::Session;
use super::reach::plain;
use super::tls;

/// Longest header and longest body that is read; a real answer has 300 bytes all together.
pub const ANSWER_LIMIT: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Driver = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// Why an exchange failed.
#[derive(Debug)]
pub enum Broken {
    /// Closed or reset before the answer's first line was whole.
    Closed,
    /// Closed or reset inside the answer's body.
    Cut,
    /// What came is no HTTP, or too much of it.
    NotHttp(&'static str),
    /// TLS failed.
    Tls(String),
    /// Something else.
    Io(String),
}

/// A connection, and the nonce that belongs to it.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Driver>,
    /// The nonce in use; it means nothing on any other connection (measured: the server calls it stale).
    pub session: Option<Session>,
    /// Requests sent so far, for their ids.
    pub asked: u64,
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
    ) -> Result<Self, Broken> {
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => secure(stream, host, config).await?,
        };
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(ANSWER_LIMIT)
            .max_header_size(ANSWER_LIMIT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        Ok(Self { sender, driver: Some(driver), session: None, asked: 0 })
    }

    /// Sends a request and reads the head of its answer.
    ///
    /// # Errors
    /// [`Broken::Closed`] when the server had closed it, now or since the last answer.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Broken> {
        let Self { sender, driver, .. } = self;
        drive(driver, sender.ready()).await.map_err(|error| broken(&error))?;
        drive(driver, sender.send_request(request)).await.map_err(|error| broken(&error))
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Broken::NotHttp`] when it is longer than [`ANSWER_LIMIT`].
    pub async fn read(&mut self, mut body: Incoming) -> Result<Vec<u8>, Broken> {
        let mut all = Vec::new();
        while let Some(frame) = drive(&mut self.driver, body.frame()).await {
            let frame = frame.map_err(|error| match broken(&error) {
                Broken::Closed => Broken::Cut,
                other => other,
            })?;
            if let Some(data) = frame.data_ref() {
                if all.len() + data.len() > ANSWER_LIMIT {
                    return Err(Broken::NotHttp("the answer is longer than 64 KiB"));
                }
                all.extend_from_slice(data);
            }
        }
        Ok(all)
    }
}

/// Lets the connection do its part of the work while `work` waits for it.
async fn drive<F: Future>(driver: &mut Option<Driver>, work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Some(running) = driver.as_mut()
            && let Poll::Ready(_) = Pin::new(running).poll(context)
        {
            // Its error, if there was one, is what `work` ends with.
            *driver = None;
        }
        work.as_mut().poll(context)
    })
    .await
}

async fn secure(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Box<dyn Stream>, Broken> {
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

fn broken(error: &hyper::Error) -> Broken {
    if error.is_parse_too_large() {
        return Broken::NotHttp("the answer's header is longer than 64 KiB");
    }
    if error.is_parse() {
        return Broken::NotHttp("the answer is not HTTP");
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Broken::Closed;
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) if tls_text(io).is_some() => Broken::Tls(tls_text(io).unwrap_or_default()),
        Some(io) if is_end(io) => Broken::Closed,
        Some(io)
            if matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) =>
        {
            Broken::NotHttp("the answer's body is not HTTP")
        }
        Some(io) => Broken::Io(plain(io)),
        None => Broken::Io(error.to_string()),
    }
}
