//! The accept loop: hyper's HTTP/1 connections, one task each, ended gracefully.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::{self, FutureExt as _};
use http_body_util::{Either, Full};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppState;
use super::router::{Answer, answer, at_once, router};
use super::stall::Impatient;

/// How long a client may take to send its headers; also how long an idle connection is kept. A little over ten
/// seconds, so that a client that asks every ten keeps its connection.
const HEADER_TIME: Duration = Duration::from_secs(11);

/// Largest request head: what other servers take in one piece (8 KiB in nginx), doubled for long cookies.
const HEAD_LIMIT: usize = 16 * 1024;

/// How long a connection without a request under way is waited for when the server stops.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// How long a connection with a request under way is waited for: a client that does not read its answer must not keep
/// the service from ending in time.
const REQUEST_GRACE: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what is to be sent to it. A listener of `/events` may sleep through the bursts
/// that its socket holds, no longer.
const STALLED: Duration = Duration::from_secs(10);

/// First and longest pause after a failed accept; it doubles in between.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Serves until `stop`, then lets every connection finish its request, and returns when all have ended.
/// The tasks of the connections belong to `tracker`.
///
/// # Errors
/// If the listener's address cannot be read.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    stop: CancellationToken,
    tracker: &TaskTracker,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "listening");
    let router = router(state.clone());
    let connections = TaskTracker::new();
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures.over();
                let connection = serve_one(stream, state.clone(), router.clone(), stop.clone());
                tracker.spawn(connections.track_future(connection));
            }
            Err(error) => {
                let pause = failures.next(&error);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
    // Closed before the connections end: whoever comes now is refused at once.
    drop(listener);
    state.0.streams.end();
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Failed accepts in a row: said once, and never a busy loop.
#[derive(Debug, Default)]
struct Failures {
    pause: Option<Duration>,
}

impl Failures {
    fn over(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("connections are accepted again");
        }
    }

    fn next(&mut self, error: &io::Error) -> Duration {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            // That client's own trouble.
            return Duration::ZERO;
        }
        let pause = match self.pause {
            None => {
                tracing::error!(%error, "cannot accept connections; trying again");
                PAUSES.0
            }
            Some(pause) => (pause * 2).min(PAUSES.1),
        };
        self.pause = Some(pause);
        pause
    }
}

async fn serve_one(stream: TcpStream, state: AppState, router: Router, stop: CancellationToken) {
    // Answers are written whole; waiting for more bytes to send with them only delays them.
    let _ = stream.set_nodelay(true);
    let under_way = Arc::new(AtomicUsize::new(0));
    let service = service_fn(|request: Request<Incoming>| {
        let guard = Guard::new(&under_way);
        let tracked = |response: Answer| {
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _guard: guard }))
        };
        // What is in memory is answered before any future, base path, Router or layer: one of the places that are shaped by
        // speed.
        if let Some(response) = at_once(&state, &request) {
            return future::Either::Left(future::ready(tracked(response)));
        }
        let (state, router) = (&state, &router);
        let later = async move { answer(state, router, request.map(Body::new)).await };
        future::Either::Right(Box::pin(later.map(tracked)))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(Impatient::new(stream, STALLED)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let last = tokio::time::Instant::now() + REQUEST_GRACE;
            loop {
                match tokio::time::timeout(IDLE_GRACE, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    // A browser opens connections that it may never use: those are not waited for.
                    Err(_) if under_way.load(Ordering::Relaxed) == 0 => break Ok(()),
                    Err(_) if tokio::time::Instant::now() >= last => break Ok(()),
                    Err(_) => {}
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Counts a request from its head to the last byte of its answer.
struct Guard(Arc<AtomicUsize>);

impl Guard {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its request counted.
struct Tracked {
    body: Either<Full<Bytes>, Body>,
    _guard: Guard,
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::config::Settings;
    use crate::http::testing::{TOKEN, World};

    /// Longer than anything takes on a busy machine, shorter than the header limit's effect could be mistaken for.
    const SOON: Duration = Duration::from_secs(8);

    async fn started()
    -> (World, std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>)
    {
        let mut settings = Settings::default();
        settings.server.token = Some(crate::domain::node::Password::new(TOKEN.to_owned()));
        let world = World::new(settings).await;
        world.publish(vec![]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (state, token) = (world.state.clone(), stop.clone());
        let server =
            tokio::spawn(async move { serve(listener, state, token, &TaskTracker::new()).await });
        (world, address, stop, server)
    }

    async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn old_clients_and_head_are_served() {
        let (_world, address, _stop, _server) = started().await;
        let answer = exchange(address, "OPTIONS / HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        assert!(answer.ends_with(r#"{"status":"healthy","working":0,"total":0}"#), "{answer}");
        for (path, length) in [("/health", 42), ("/nodes/status", 45)] {
            let answer = exchange(address, &format!("HEAD {path} HTTP/1.0\r\n\r\n")).await;
            assert!(answer.contains(&format!("content-length: {length}")), "{answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
        let long = format!("GET /health HTTP/1.0\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD_LIMIT));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = Vec::new();
        // The rest of the head was not read, so the end may come as a reset.
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(
            answer.is_empty()
                || answer.starts_with(b"HTTP/1.0 431")
                || answer.starts_with(b"HTTP/1.1 431")
        );
    }

    /// Some clients end a request with one line too many; others have sent the half of their next one.
    #[tokio::test]
    async fn bytes_after_a_request_do_not_hold_back_its_answer() {
        let (_world, address, _stop, _server) = started().await;
        for after in ["\r\n", "GET /hea"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n\r\n{after}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut first = [0; 12];
            tokio::time::timeout(SOON, stream.read_exact(&mut first)).await.unwrap().unwrap();
            assert_eq!(&first, b"HTTP/1.1 200", "{after:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_so() {
        let (_world, address, _stop, _server) = started().await;
        for garbage in ["GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
            let answer = exchange(address, garbage).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{garbage:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_stop_waits_for_no_idle_connection() {
        let (_world, address, stop, server) = started().await;
        let _unused = TcpStream::connect(address).await.unwrap();
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        kept.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stop.cancel();
        tokio::time::timeout(SOON, server).await.unwrap().unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
    }

    #[tokio::test]
    async fn a_stop_waits_for_half_a_body_no_longer_than_it_has() {
        let (_world, address, stop, server) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Its body is being read from here on.
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 100");
        stream.write_all(b"{").await.unwrap();
        stop.cancel();
        tokio::time::timeout(SOON, server).await.unwrap().unwrap().unwrap();
    }

    #[test]
    fn a_failure_to_accept_slows_down_and_a_client_that_left_does_not() {
        let mut failures = Failures::default();
        let full = || io::Error::from_raw_os_error(24);
        let pauses: Vec<_> = (0..8).map(|_| failures.next(&full())).collect();
        assert!(pauses.is_sorted() && pauses[0] > Duration::ZERO && pauses[7] == PAUSES.1);
        assert_eq!(failures.next(&io::ErrorKind::ConnectionAborted.into()), Duration::ZERO);
        failures.over();
        assert_eq!(failures.next(&full()), PAUSES.0);
    }
}
