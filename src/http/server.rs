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
use super::router::{answer, router};

/// How long a client may take to send its headers; also how long an idle connection is kept. A little over ten
/// seconds, so that a client that asks every ten keeps its connection.
const HEADER_TIME: Duration = Duration::from_secs(11);

/// Largest request head: what other servers take in one piece (8 KiB in nginx), doubled for long cookies.
const HEAD_LIMIT: usize = 16 * 1024;

/// How long a connection without a request under way is waited for when the server stops.
const IDLE_GRACE: Duration = Duration::from_millis(500);

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
        let (state, router) = (&state, &router);
        async move {
            let response = answer(state, router, request.map(Body::new)).await;
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _guard: guard }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEAD_LIMIT)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            loop {
                match tokio::time::timeout(IDLE_GRACE, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    // A browser opens connections that it may never use: those are not waited for.
                    Err(_) if under_way.load(Ordering::Relaxed) == 0 => break Ok(()),
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
