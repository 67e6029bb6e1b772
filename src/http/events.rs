//! `GET /events`: what happens, as server-sent events. A listener is told or dropped, never waited for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use super::error::Problem;
use crate::domain::Timestamp;
use crate::events::{Item, News, Subject};

/// Listeners at once. Each costs a connection and a place in every telling; a dashboard's users are tens.
const LISTENERS: usize = 1000;

/// How often a listener hears something at least: proxies end a connection that is silent for a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long the first line waits until flips are followed; without a database they are not.
const BEGIN: Duration = Duration::from_secs(1);

/// The first bytes, so that proxies pass the head on at once, and how soon to come back (milliseconds) after an end.
const FIRST: Bytes = Bytes::from_static(b": what happens from here on\nretry: 2000\n\n");

/// Said when there is nothing to say.
const NOTHING: Bytes = Bytes::from_static(b":\n\n");

/// What stays as it is in an `id:`; an instance's name may have any letter, and `:` divides.
const ID: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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

    fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.count));
        (self.count.fetch_add(1, Ordering::Relaxed) < LISTENERS).then_some(place)
    }
}

/// A listener's place, given back when it goes.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One event's `data`.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventData<'a> {
    /// `observed`: seen, not committed; `flip`: on record.
    #[schema(value_type = super::openapi::words::EventKind, example = "flip")]
    pub kind: &'static str,
    /// The node's id or `brz_project_id`.
    pub id: i64,
    /// The node's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "main-node")]
    pub name: Option<&'a str>,
    /// The migration's, instead of a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub mb_project_uuid: Option<&'a str>,
    /// The state after it.
    #[schema(value_type = String, example = "down")]
    pub state: &'a str,
    /// Why.
    #[schema(value_type = Option<String>, example = "process_gone")]
    pub reason: Option<&'a str>,
    /// When it was seen, or committed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What happens, as it happens
///
/// Server-sent events: `event:` is `node` or `migration`, `data:` one line of JSON. What is `observed` has no `id:` and may
/// turn out to be nothing; a `flip` has one and is on record. What was before is not told: read the lists after the first
/// line. A comment comes every 15 s. A client that is too far behind is disconnected, and all are when the service stops.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "events",
    responses(
        (status = 200, description = "A stream of events, without end", body = EventData,
            content_type = "text/event-stream", headers(("Cache-Control" = String))),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 503, response = super::openapi::TooManyListeners),
    ),
)]
pub async fn get(
    _: MayRead,
    State(state): State<AppState>,
    method: Method,
) -> Result<Response<Body>, Problem> {
    if method == Method::HEAD {
        return Ok(reply(Body::empty()));
    }
    let streams = &state.0.streams;
    let Some(place) = streams.place() else {
        let detail = format!("{LISTENERS} clients listen already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", detail));
    };
    let hub = &state.0.parts.events;
    let listener = Listener::new(hub.listen(), streams.end.clone(), place);
    // What is committed after the first line is told. A database that is away does not keep back what is seen.
    let _ = tokio::time::timeout(BEGIN, hub.followed()).await;
    let first = stream::once(async { Ok::<_, Infallible>(FIRST) });
    let rest = stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok(text), listener))
    });
    Ok(reply(Body::from_stream(first.chain(rest))))
}

struct Listener {
    news: broadcast::Receiver<Arc<Item>>,
    end: CancellationToken,
    silence: Duration,
    _place: Place,
}

impl Listener {
    const fn new(
        news: broadcast::Receiver<Arc<Item>>,
        end: CancellationToken,
        place: Place,
    ) -> Self {
        Self { news, end, silence: KEEP_ALIVE, _place: place }
    }

    /// The next bytes; none when the service stops or this one is too far behind.
    async fn next(&mut self) -> Option<Bytes> {
        let news = tokio::select! {
            biased;
            () = self.end.cancelled() => return None,
            news = tokio::time::timeout(self.silence, self.news.recv()) => news,
        };
        match news {
            Ok(Ok(item)) => Some(item.text(frame)),
            Ok(Err(_)) => None,
            Err(_) => Some(NOTHING),
        }
    }
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

/// An event as it goes over the wire.
fn frame(news: &News) -> Bytes {
    let (word, id, name, uuid) = match &news.subject {
        Subject::Node { id, name } => ("node", *id, Some(name.as_str()), None),
        Subject::Migration { id, mb_project_uuid } => {
            ("migration", *id, None, Some(mb_project_uuid.as_str()))
        }
    };
    let data = EventData {
        kind: if news.committed.is_some() { "flip" } else { "observed" },
        id,
        name,
        mb_project_uuid: uuid,
        state: &news.state,
        reason: news.reason.as_deref(),
        at: news.at,
    };
    let data = serde_json::to_string(&data).unwrap_or_default();
    let place = match &news.committed {
        Some((instance, seq)) => format!("id: {}:{seq}\n", utf8_percent_encode(instance, ID)),
        None => String::new(),
    };
    format!("event: {word}\n{place}data: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(committed: Option<(String, i64)>) -> News {
        let subject = Subject::Node { id: 7, name: "a\nb".to_owned() };
        News { subject, state: "down".to_owned(), reason: None, at: Timestamp(61_000), committed }
    }

    fn listener(hub: &crate::events::Hub) -> Listener {
        let place = Streams::default().place().unwrap();
        Listener::new(hub.listen(), CancellationToken::new(), place)
    }

    #[test]
    fn an_event_is_one_block_of_lines_and_only_a_flip_has_an_id() {
        let seen = frame(&news(None));
        assert_eq!(
            seen,
            "event: node\ndata: {\"kind\":\"observed\",\"id\":7,\"name\":\"a\\nb\",\"state\":\"down\",\"reason\":null,\
             \"at\":\"1970-01-01T00:01:01+00:00\"}\n\n"
        );
        let flip = frame(&news(Some(("host: я\n".to_owned(), 12))));
        let text = std::str::from_utf8(&flip).unwrap();
        assert!(text.contains("\nid: host%3A%20%D1%8F%0A:12\n"), "{text}");
        assert!(text.contains("\"kind\":\"flip\""), "{text}");
        let subject = Subject::Migration { id: 3, mb_project_uuid: "u".to_owned() };
        let text = frame(&News { subject, ..news(None) });
        let text = std::str::from_utf8(&text).unwrap();
        assert!(
            text.starts_with("event: migration\ndata: {\"kind\":\"observed\",\"id\":3,"),
            "{text}"
        );
        assert!(text.contains("\"mb_project_uuid\":\"u\"") && !text.contains("\"name\""), "{text}");
    }

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

    #[tokio::test]
    async fn a_text_is_made_once_and_one_that_is_behind_is_dropped() {
        let hub = crate::events::Hub::default();
        let (mut first, mut second, mut slow) = (listener(&hub), listener(&hub), listener(&hub));
        hub.tell(news(None));
        let (one, two) = (first.next().await.unwrap(), second.next().await.unwrap());
        assert_eq!(one.as_ptr(), two.as_ptr(), "the same bytes");
        for _ in 0..100_000 {
            hub.tell(news(None));
            assert!(first.next().await.is_some());
        }
        assert!(slow.next().await.is_none());
        first.end.cancel();
        assert!(first.next().await.is_none());
    }

    #[tokio::test]
    async fn silence_is_broken_for_the_proxies() {
        let hub = crate::events::Hub::default();
        let mut one = Listener { silence: Duration::from_millis(10), ..listener(&hub) };
        assert_eq!(one.next().await.unwrap(), NOTHING);
    }
}
