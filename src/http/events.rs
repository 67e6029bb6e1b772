//! `GET /events`: what happens, as server-sent events, from here on or from where a client stood.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::AppState;
use super::auth::MayRead;
use super::error::Problem;
use super::event_filter::Filter;
use super::event_frames::StreamData;
use super::event_listener::Listener;
use super::openapi::{EventsQuery, LastEventId};
use super::query::Params;
use crate::clock;
use crate::events::missed::begin;

/// Listeners at once. Each costs a connection and a place in every telling; a dashboard's users are tens.
const LISTENERS: usize = 1000;

/// Where a client that comes back says where it stood.
const LAST_EVENT_ID: &str = "last-event-id";

/// Who listens, and their common end.
#[derive(Debug, Default)]
pub struct Streams {
    count: Arc<AtomicUsize>,
    end: CancellationToken,
}

impl Streams {
    /// Ends all streams, those to come too.
    pub fn end(&self) {
        self.end.cancel();
    }

    pub(super) fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.count));
        (self.count.fetch_add(1, Ordering::Relaxed) < LISTENERS).then_some(place)
    }
}

/// A listener's place, given back when it goes.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happens, as it happens
///
/// Server-sent events: `event:` is `node` or `migration`, `data:` one line of JSON. What is `observed` has no `id:` and may
/// turn out to be nothing; a `flip` has one and is on record. What was before is not told: read the lists after the first
/// line. Who comes back with the last `id:` in `Last-Event-ID` is told the flips that it missed, at least once; if that
/// cannot be told any more, `event: reset` says so (`why`: `too_old`, more than a day or 10,000 events; `unknown`, the id of
/// another database; `unavailable`, the database is away), and the lists are to be read again. A comment, or an `id:` alone,
/// comes every 15 s. A client that is too far behind is disconnected, and all are when the service stops.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "events",
    params(EventsQuery, LastEventId),
    responses(
        (status = 200, description = "A stream of events, without end", body = StreamData,
            content_type = "text/event-stream", headers(("Cache-Control" = String))),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 503, response = super::openapi::TooManyListeners),
    ),
)]
pub async fn get(
    _: MayRead,
    State(state): State<AppState>,
    method: Method,
    params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let filter = Filter::of(&params)?;
    if method == Method::HEAD {
        return Ok(reply(Body::empty()));
    }
    let streams = &state.0.streams;
    let Some(place) = streams.place() else {
        let detail = format!("{LISTENERS} clients listen already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", detail));
    };
    let hub = &state.0.parts.events;
    let news = hub.listen();
    // One that is no text is as unknown as any other.
    let last = headers.get(LAST_EVENT_ID).map(|last| last.to_str().unwrap_or("?"));
    let last = last.filter(|last| !last.is_empty());
    let begin = begin(state.store(), hub, last, clock::now().wall).await;
    let listener = Listener::new(news, streams.end.clone(), begin, filter, place);
    let text = stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(text), listener))
    });
    Ok(reply(Body::from_stream(text)))
}

fn reply(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would collect a page of it first.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let streams = Streams::default();
        let mut held: Vec<_> = (0..LISTENERS).map_while(|_| streams.place()).collect();
        assert_eq!(held.len(), LISTENERS);
        assert!(streams.place().is_none());
        assert!(streams.place().is_none(), "one that was refused takes none");
        held.pop();
        assert!(streams.place().is_some());
    }
}
