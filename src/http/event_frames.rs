//! Events as they go over the wire: blocks of lines, as server-sent events have them.

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::events::{News, Subject};

/// Said when there is nothing to say.
pub const NOTHING: Bytes = Bytes::from_static(b":\n\n");

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

/// The `data` of `event: reset`: what the client missed cannot be told.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResetData<'a> {
    /// `too_old`, `unknown` or `unavailable`.
    #[schema(value_type = super::openapi::words::ResetWhy, example = "too_old")]
    pub why: &'a str,
}

/// What may stand in `data:`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum StreamData<'a> {
    /// Of `event: node` and `event: migration`.
    Event(EventData<'a>),
    /// Of `event: reset`.
    Reset(ResetData<'a>),
}

/// `observed` or `flip`.
pub const fn kind(news: &News) -> &'static str {
    if news.committed.is_some() { "flip" } else { "observed" }
}

/// `node` or `migration`.
pub const fn subject(news: &News) -> &'static str {
    match news.subject {
        Subject::Node { .. } => "node",
        Subject::Migration { .. } => "migration",
    }
}

/// An event.
pub fn event(news: &News) -> Bytes {
    let (id, name, uuid) = match &news.subject {
        Subject::Node { id, name } => (*id, Some(name.as_str()), None),
        Subject::Migration { id, mb_project_uuid } => (*id, None, Some(mb_project_uuid.as_str())),
    };
    let data = StreamData::Event(EventData {
        kind: kind(news),
        id,
        name,
        mb_project_uuid: uuid,
        state: &news.state,
        reason: news.reason.as_deref(),
        at: news.at,
    });
    let data = serde_json::to_string(&data).unwrap_or_default();
    let place = news.committed.as_ref().map(|it| format!("id: {}\n", it.place));
    format!("event: {}\n{}data: {data}\n\n", subject(news), place.unwrap_or_default()).into()
}

/// The first bytes, so that proxies pass the head on at once, and how soon to come back (milliseconds) after an end.
pub fn first(place: Option<&str>) -> Bytes {
    format!(": what happens from here on\nretry: 2000\n{}\n", line(place)).into()
}

/// What the client missed cannot be told: it has to read the lists anew.
pub fn reset(why: &str, place: Option<&str>) -> Bytes {
    let data = serde_json::to_string(&StreamData::Reset(ResetData { why })).unwrap_or_default();
    format!("event: reset\n{}data: {data}\n\n", line(place)).into()
}

/// Where the client stands, without an event.
pub fn place(place: &str) -> Bytes {
    format!("id: {place}\n\n").into()
}

fn line(place: Option<&str>) -> String {
    place.map(|place| format!("id: {place}\n")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Committed;

    fn news(committed: Option<Committed>) -> News {
        let subject = Subject::Node { id: 7, name: "a\nb".to_owned() };
        News { subject, state: "down".to_owned(), reason: None, at: Timestamp(61_000), committed }
    }

    #[test]
    fn an_event_is_one_block_of_lines_and_only_a_flip_has_an_id() {
        let seen = event(&news(None));
        assert_eq!(
            seen,
            "event: node\ndata: {\"kind\":\"observed\",\"id\":7,\"name\":\"a\\nb\",\"state\":\"down\",\"reason\":null,\
             \"at\":\"1970-01-01T00:01:01+00:00\"}\n\n"
        );
        let place = "a:12,b:7@61".to_owned();
        let flip = event(&news(Some(Committed { instance: "a".to_owned(), seq: 12, place })));
        let text = std::str::from_utf8(&flip).unwrap();
        assert!(text.contains("\nid: a:12,b:7@61\n"), "{text}");
        assert!(text.contains("\"kind\":\"flip\""), "{text}");
        let subject = Subject::Migration { id: 3, mb_project_uuid: "u".to_owned() };
        let text = event(&News { subject, ..news(None) });
        let text = std::str::from_utf8(&text).unwrap();
        assert!(
            text.starts_with("event: migration\ndata: {\"kind\":\"observed\",\"id\":3,"),
            "{text}"
        );
        assert!(text.contains("\"mb_project_uuid\":\"u\"") && !text.contains("\"name\""), "{text}");
    }
}
