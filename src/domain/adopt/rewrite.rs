//! Their JSON with our error in it: every other key as it was, no longer than its column.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::time::Timestamp;

/// An error's text that is shorter says nothing any more.
const SHORTEST: usize = 16;

/// What stands where a text was cut.
const CUT: char = '…';

/// How much a column holds: `VARCHAR(n)` counts characters, MariaDB's `TEXT` counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Room {
    /// No limit that counts.
    Any,
    /// So many characters.
    Chars(usize),
    /// So many bytes.
    Bytes(usize),
}

impl Room {
    /// Does the text fit?
    #[must_use]
    pub fn holds(self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Chars(most) => text.chars().count() <= most,
            Self::Bytes(most) => text.len() <= most,
        }
    }

    /// The text, shortened if it does not fit.
    #[must_use]
    pub fn cut(self, text: &str) -> String {
        if self.holds(text) {
            return text.to_owned();
        }
        let lengths = 0..text.chars().count();
        let fits = lengths.rev().map(|length| shortened(text, length)).find(|it| self.holds(it));
        fits.unwrap_or_default()
    }
}

/// Even the bare status does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoRoom;

type Fields = indexmap::IndexMap<String, Box<RawValue>>;

/// The object `text` with the status `error`: its other keys stay, in their order, their numbers digit for digit. Text is
/// written as UTF-8, not as `\u` codes. If the column has no `room` for all of it, the error's text is cut, then
/// what we would add beside it is left out.
///
/// # Errors
/// [`NoRoom`] if it does not fit even then, or `text` is no JSON object.
pub fn with_error(
    text: &str,
    (status_key, error_key): (&str, &str),
    error: &str,
    at: Timestamp,
    room: Room,
) -> Result<String, NoRoom> {
    // Read as a whole first: that ends at a depth of 128, the reading piece by piece does not.
    serde_json::from_str::<Value>(text).map_err(|_| NoRoom)?;
    let fields: Fields = serde_json::from_str(text).map_err(|_| NoRoom)?;
    let made = |error: Option<&str>, all: bool| {
        let mut object = Object::of(&fields);
        object.set(status_key, &Value::from("error"));
        match error {
            Some(error) => object.set(error_key, &Value::from(error)),
            None => object.remove(error_key),
        }
        if all {
            object.set("status_updated_at", &Value::from(at.rfc3339()));
            object.set("monitor_updated", &Value::from(true));
        }
        object.text()
    };
    let fits = |text: &String| room.holds(text);
    let whole = Some(made(Some(error), true)).filter(fits);
    let cut = |all: bool, least: usize| {
        let (mut fit, mut over) = (least, error.chars().count());
        let short = |length: usize| made(Some(&shortened(error, length)), all);
        if least >= over || !fits(&short(least)) {
            return None;
        }
        // Escapes make a text longer than it is, so it is tried how much of it fits.
        while over - fit > 1 {
            let middle = fit.midpoint(over);
            if fits(&short(middle)) { fit = middle } else { over = middle }
        }
        Some(short(fit))
    };
    whole
        .or_else(|| cut(true, SHORTEST))
        .or_else(|| Some(made(Some(error), false)).filter(fits))
        .or_else(|| cut(false, 1))
        .or_else(|| Some(made(None, false)).filter(fits))
        .ok_or(NoRoom)
}

/// At most `length` characters.
fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain([CUT]).collect()
}

/// An object whose values are texts of JSON.
struct Object(Vec<(String, String)>);

impl Object {
    fn of(fields: &Fields) -> Self {
        Self(fields.iter().map(|(key, value)| (key.clone(), compact(value))).collect())
    }

    fn set(&mut self, key: &str, value: &Value) {
        let value = value.to_string();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    fn text(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
            .collect();
        format!("{{{}}}", pairs.join(","))
    }
}

/// The same value in the fewest characters: no blanks, no codes for what UTF-8 can say. A number stays as it is written.
fn compact(value: &RawValue) -> String {
    let text = value.get();
    let inner = match text.as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str::<String>(text).map(|it| Value::from(it).to_string()).ok()
        }
        Some(b'{') => serde_json::from_str::<Fields>(text).map(|it| Object::of(&it).text()).ok(),
        Some(b'[') => serde_json::from_str::<Vec<Box<RawValue>>>(text)
            .map(|it| {
                format!("[{}]", it.iter().map(|it| compact(it)).collect::<Vec<_>>().join(","))
            })
            .ok(),
        _ => None,
    };
    inner.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: (&str, &str) = ("status", "error");
    const AT: Timestamp = Timestamp(1_736_937_045_000);

    fn rewritten(text: &str, error: &str, room: Room) -> Result<String, NoRoom> {
        with_error(text, KEYS, error, AT, room)
    }

    #[test]
    fn other_keys_stay_in_their_place_and_numbers_digit_for_digit() {
        let text = r#"{ "status": "in_progress", "wave": 12345678901234567890123, "p": 40.480, "n": {"a": [1, "\u0430"]} }"#;
        assert_eq!(
            rewritten(text, "Процесс 7 завершён", Room::Any).unwrap(),
            r#"{"status":"error","wave":12345678901234567890123,"p":40.480,"n":{"a":[1,"а"]},"error":"Процесс 7 завершён","#
                .to_owned()
                + r#""status_updated_at":"2025-01-15T10:30:45+00:00","monitor_updated":true}"#
        );
    }

    #[test]
    fn what_is_too_long_for_the_column_is_cut_in_the_text_alone() {
        let text = r#"{"status":"in_progress","url":"https:\/\/example.org\/a"}"#;
        let error = "\"x\"\n".repeat(100);
        let made = rewritten(text, &error, Room::Chars(255)).unwrap();
        assert_eq!(made.chars().count(), 255);
        let value: Value = serde_json::from_str(&made).unwrap();
        assert_eq!(value["url"], "https://example.org/a");
        assert_eq!(
            (&value["status"], &value["monitor_updated"]),
            (&Value::from("error"), &Value::from(true))
        );
        assert!(value["error"].as_str().unwrap().ends_with(CUT));
    }

    #[test]
    fn without_room_less_is_said_and_never_half_a_json() {
        let text = format!(r#"{{"status":"in_progress","k":"{}"}}"#, "я".repeat(60));
        let whole = rewritten(&text, "gone", Room::Any).unwrap().chars().count();
        let mut last = None;
        for width in (0..=whole).rev() {
            let Ok(made) = rewritten(&text, "gone", Room::Chars(width)) else {
                last = last.or(Some(width));
                continue;
            };
            assert_eq!(last, None, "what does not fit into less fits into {width}");
            assert!(made.chars().count() <= width, "{width}: {made}");
            let value: Value = serde_json::from_str(&made).unwrap();
            assert_eq!(value["status"], "error");
            assert_eq!(value["k"].as_str().unwrap().chars().count(), 60);
        }
        let bare = r#"{"status":"error","k":""}"#.len() + 60;
        assert_eq!(last, Some(bare - 1));
    }

    #[test]
    fn a_column_that_counts_bytes() {
        let text = r#"{"status":"in_progress"}"#;
        let made = rewritten(text, &"я".repeat(500), Room::Bytes(255)).unwrap();
        assert!((254..=255).contains(&made.len()), "{made}");
        let value: Value = serde_json::from_str(&made).unwrap();
        assert_eq!(value["status"], "error");
        assert!(value["error"].as_str().unwrap().ends_with(CUT));
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(Room::Any.cut("яяя"), "яяя");
        assert_eq!(Room::Chars(3).cut("яяя"), "яяя");
        assert_eq!(Room::Chars(2).cut("яяя"), "я…");
        assert_eq!(Room::Bytes(5).cut("яяя"), "я…");
        assert_eq!(Room::Bytes(2).cut("яяя"), "");
    }

    #[test]
    fn what_is_no_object_is_not_touched() {
        for text in ["", "[]", "null", "{", "\"a\""] {
            assert_eq!(rewritten(text, "x", Room::Any), Err(NoRoom), "{text}");
        }
        let deep = format!(r#"{{"a":{}}}"#, "[".repeat(50_000));
        assert_eq!(rewritten(&deep, "x", Room::Any), Err(NoRoom));
    }

    #[test]
    fn an_error_of_before_is_replaced() {
        let text = r#"{"error":"old","status":"in_progress","monitor_updated":false}"#;
        let value: Value =
            serde_json::from_str(&rewritten(text, "new", Room::Any).unwrap()).unwrap();
        assert_eq!(
            (&value["error"], &value["monitor_updated"]),
            (&Value::from("new"), &Value::from(true))
        );
    }
}
