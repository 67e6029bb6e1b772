//! One HTTP/1 connection, spoken by hyper: bounded in its head and its patience, ended gracefully.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::{Either, Full};
use hyper::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::AppState;
use super::access::Caller;
use super::glance::{Glance, Step};
use super::router::{Answer, answer, at_once};
use super::stall::Impatient;

/// How long a connection without a request under way is kept, and a client may take to send a head: so long at least,
/// twice that at most. A little over ten seconds, so that a client that asks every ten keeps its connection.
const HEADER_TIME: Duration = Duration::from_secs(11);

/// Largest request head: what other servers take in one piece (8 KiB in nginx), doubled for long cookies.
pub(super) const HEAD_LIMIT: usize = 16 * 1024;

/// How long a connection without a request under way is waited for when the server stops.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// How long a connection with a request under way is waited for: a client that does not read its answer must not keep
/// the service from ending in time.
const REQUEST_GRACE: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what is to be sent to it. A listener of `/events` may sleep through the bursts
/// that its socket holds, no longer.
const STALLED: Duration = Duration::from_secs(10);

/// What ends a connection, or may.
enum Rare {
    /// The server stops.
    Stop,
    /// Time to see whether the client still asks.
    Time,
}

/// Answers the requests of a connection until it ends, or until `stop` and the end of the request under way.
/// Its requests are counted in `requests`.
pub async fn converse(
    mut stream: TcpStream,
    caller: Caller,
    requests: Arc<Requests>,
    state: AppState,
    router: Router,
    stop: CancellationToken,
) {
    // Answers are written whole; waiting for more bytes to send with them only delays them.
    let _ = stream.set_nodelay(true);
    // Looked at only when one of them is due, not with each request.
    let mut rare: FuturesUnordered<BoxFuture<'static, Rare>> = FuturesUnordered::new();
    rare.push(stop.cancelled_owned().map(|()| Rare::Stop).boxed());
    rare.push(time());
    let mut known = 0;
    let Some(begun) = glance(&mut stream, &state, &requests, &mut rare, &mut known).await else {
        return;
    };
    let service = service_fn(|request: Request<Incoming>| {
        let guard = Guard::new(&requests);
        let tracked = |response: Answer| {
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _guard: guard }))
        };
        // What is in memory is answered before any future, base path, Router or layer: one of the places that are shaped by
        // speed.
        if let Some(response) = at_once(&state, &caller, &request) {
            return future::Either::Left(future::ready(tracked(response)));
        }
        let (state, router, caller) = (&state, &router, &caller);
        let later = async move { answer(state, router, caller, request.map(Body::new)).await };
        future::Either::Right(Box::pin(later.map(tracked)))
    });
    // Without hyper's own timer, which it sets anew for each request.
    let connection = http1::Builder::new().max_buf_size(HEAD_LIMIT).serve_connection(
        TokioIo::new(Impatient::new(stream, begun, STALLED, Arc::clone(&requests.moves))),
        service,
    );
    let mut connection = pin!(connection);
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            Some(what) = rare.next() => match what {
                Rare::Stop => {
                    connection.as_mut().graceful_shutdown();
                    break last_words(connection, &requests).await;
                }
                Rare::Time if requests.are_over_since(&mut known) => break Ok(()),
                Rare::Time => rare.push(time()),
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers what a glance is enough for. What was read of the first request that it is not enough for; `None` if the
/// connection is over.
async fn glance(
    stream: &mut TcpStream,
    state: &AppState,
    requests: &Requests,
    rare: &mut FuturesUnordered<BoxFuture<'static, Rare>>,
    known: &mut usize,
) -> Option<Bytes> {
    let mut glance = Glance::default();
    loop {
        tokio::select! {
            biased;
            step = poll_fn(|context| glance.poll(stream, state, context)) => match step {
                Step::Answered => drop(requests.moves.fetch_add(1, Ordering::Relaxed)),
                Step::Rest(sent) => {
                    let rest = stream.write_all(glance.rest(sent));
                    tokio::time::timeout(STALLED, rest).await.ok()?.ok()?;
                }
                Step::More(begun) => return Some(begun),
                Step::End => return None,
            },
            Some(what) = rare.next() => match what {
                // Who was never answered may have asked just now.
                Rare::Stop if requests.moves.load(Ordering::Relaxed) == 0 => {
                    rare.push(future::ready(Rare::Stop).boxed());
                    return Some(Bytes::new());
                }
                Rare::Stop => return None,
                Rare::Time if requests.are_over_since(known) => return None,
                Rare::Time => rare.push(time()),
            },
        }
    }
}

fn time() -> BoxFuture<'static, Rare> {
    tokio::time::sleep(HEADER_TIME).map(|()| Rare::Time).boxed()
}

/// Lets the request that is under way come to its end.
async fn last_words<C>(mut connection: std::pin::Pin<&mut C>, requests: &Requests) -> C::Output
where
    C: Future<Output = hyper::Result<()>>,
{
    let last = tokio::time::Instant::now() + REQUEST_GRACE;
    let mut known = requests.moves.load(Ordering::Relaxed);
    loop {
        match tokio::time::timeout(IDLE_GRACE, connection.as_mut()).await {
            Ok(ended) => return ended,
            // A browser opens connections that it may never use: those are not waited for.
            Err(_) if requests.are_over_since(&mut known) => return Ok(()),
            Err(_) if tokio::time::Instant::now() >= last => return Ok(()),
            Err(_) => {}
        }
    }
}

/// The requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Requests that began, and pieces of answers that were taken.
    moves: Arc<AtomicUsize>,
    under_way: AtomicUsize,
}

impl Requests {
    /// One begins that never ends.
    #[cfg(test)]
    pub(super) fn begin_for_test(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Is one under way?
    pub(super) fn are_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Is none under way, and did nothing move since it was so many times? The last piece of an answer is under way no
    /// more, and may take a slow client a while.
    fn are_over_since(&self, known: &mut usize) -> bool {
        let moves = self.moves.load(Ordering::Relaxed);
        let before = std::mem::replace(known, moves);
        moves == before && self.under_way.load(Ordering::Relaxed) == 0
    }
}

/// Counts a request from its head to the last byte of its answer.
struct Guard(Arc<Requests>);

impl Guard {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.moves.fetch_add(1, Ordering::Relaxed);
        requests.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
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
    use super::*;

    #[test]
    fn a_connection_is_kept_while_its_client_asks() {
        let requests = Arc::new(Requests::default());
        let mut known = 0;
        assert!(requests.are_over_since(&mut known), "nothing was ever asked");
        let first = Guard::new(&requests);
        assert!(!requests.are_over_since(&mut known));
        assert!(!requests.are_over_since(&mut known), "it is under way still");
        drop(first);
        assert!(requests.are_over_since(&mut known));
        drop(Guard::new(&requests));
        assert!(!requests.are_over_since(&mut known), "another came and went meanwhile");
        assert!(requests.are_over_since(&mut known));
    }
}
