//! What a lock says: pure parsers of its content and of its name.

use std::borrow::Cow;

use serde::Deserialize;

use super::fields::{Field, Fields};
use crate::domain::migration::{Key, MAX_PROJECT_ID};
use crate::domain::time::Timestamp;

/// The longest `mb_project_uuid` that is one, in bytes: what the columns of every database hold.
const UUID_LIMIT: usize = 64;

/// 9999-12-31T23:59:59Z in seconds since the Unix epoch: a larger number is no time in seconds (milliseconds, mostly).
const LATEST: i64 = 253_402_300_799;

/// Why a content says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unparsable {
    /// Nothing but white space.
    Empty,
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// No JSON object.
    NotJson,
}

/// The `pid` of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PidField {
    /// None, or `null`.
    Missing,
    /// In the range of the kernel's type.
    Number(i64),
    /// Something else.
    Bad,
}

/// What a lock says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed<'a> {
    /// `mb_project_uuid`, if it is one.
    pub(super) uuid: Option<Cow<'a, str>>,
    /// `brz_project_id`, if it is one.
    pub(super) id: Option<i64>,
    /// `pid`.
    pub(super) pid: PidField,
    /// `started_timestamp`, if it is one.
    pub(super) started: Option<Timestamp>,
    /// `stage_updated_at`, if it is one.
    pub(super) stage_updated: Option<Timestamp>,
    /// There is something in it.
    pub(super) has_fields: bool,
}

impl Parsed<'_> {
    /// Both ids, if both are there.
    pub(super) fn key(&self) -> Option<Key> {
        let (uuid, id) = (self.uuid.as_deref()?, self.id?);
        Some(Key { mb_project_uuid: uuid.to_owned(), brz_project_id: id })
    }

    /// Are both ids there, and those of this key?
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.uuid.as_deref() == Some(&key.mb_project_uuid) && self.id == Some(key.brz_project_id)
    }
}

/// Reads the content of a lock.
pub(super) fn content(bytes: &[u8]) -> Result<Parsed<'_>, Unparsable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unparsable::NotUtf8)?;
    if text.trim().is_empty() {
        return Err(Unparsable::Empty);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let fields = Fields::deserialize(&mut reader).map_err(|_| Unparsable::NotJson)?;
    reader.end().map_err(|_| Unparsable::NotJson)?;
    Ok(Parsed {
        uuid: fields.uuid.and_then(Field::into_text).filter(|it| is_uuid(it)),
        id: fields.id.as_ref().and_then(integer).filter(is_project_id),
        pid: pid(fields.pid.as_ref()),
        started: fields.started.as_ref().and_then(seconds),
        stage_updated: fields.stage_updated.as_ref().and_then(seconds),
        has_fields: fields.any,
    })
}

/// The key in a name of the form `{uuid}-{digits}.lock`, where `{uuid}` has the form of RFC 9562, section 4.
pub(super) fn name(name: &str) -> Option<Key> {
    let (uuid, rest) = name.split_at_checked(36)?;
    let digits = rest.strip_prefix('-')?.strip_suffix(".lock")?;
    let dashes = [8, 13, 18, 23].iter().all(|at| uuid.as_bytes().get(*at) == Some(&b'-'));
    if !dashes || uuid.bytes().filter(u8::is_ascii_hexdigit).count() != 32 {
        return None;
    }
    let id = digit_string(digits).filter(is_project_id)?;
    Some(Key { mb_project_uuid: uuid.to_owned(), brz_project_id: id })
}

/// The name that a key's lock has.
pub(super) fn canonical_name(key: &Key) -> String {
    format!("{key}.lock")
}

/// Is it the name that this key's lock has?
pub(super) fn is_canonical(name: &str, key: &Key) -> bool {
    name.strip_prefix(&key.mb_project_uuid)
        .and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".lock"))
        .is_some_and(|digits| {
            !digits.starts_with('0') && digit_string(digits) == Some(key.brz_project_id)
        })
}

/// Without spaces at the ends: MySQL takes `u` and `u ` for one key (`PAD SPACE`), the other engines for two.
fn is_uuid(text: &str) -> bool {
    let is_plain = || text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_trimmed = || text.trim() == text && !text.contains(char::is_control);
    !text.is_empty() && text.len() <= UUID_LIMIT && (is_plain() || is_trimmed())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The form that `Option::filter` asks for.
fn is_project_id(id: &i64) -> bool {
    (1..=MAX_PROJECT_ID).contains(id)
}

fn pid(field: Option<&Field>) -> PidField {
    match field {
        None | Some(Field::Null) => PidField::Missing,
        Some(field) => match integer(field) {
            Some(pid) if (1..=i64::from(i32::MAX)).contains(&pid) => PidField::Number(pid),
            _ => PidField::Bad,
        },
    }
}

/// An integer, or a string of digits: PHP writes both.
fn integer(field: &Field) -> Option<i64> {
    match field {
        Field::Integer(number) => Some(*number),
        Field::Text(text) => digit_string(text),
        Field::Number(_) | Field::Null | Field::Other => None,
    }
}

fn digit_string(text: &str) -> Option<i64> {
    // The parser takes a sign as well.
    text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Seconds since the Unix epoch: an integer, a float, or a string of digits.
fn seconds(field: &Field) -> Option<Timestamp> {
    let plausible = 1..=LATEST;
    if let Some(secs) = integer(field) {
        return plausible.contains(&secs).then(|| Timestamp::from_secs(secs));
    }
    let Field::Number(secs) = field else { return None };
    let secs = Some(*secs).filter(|secs| secs.is_finite() && *secs >= 1.0)?;
    let whole = std::time::Duration::try_from_secs_f64(secs).ok()?;
    let millis = i64::try_from(whole.as_millis()).ok()?;
    plausible.contains(&(millis / 1000)).then_some(Timestamp(millis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn parse(value: &Value) -> Parsed<'static> {
        content(value.to_string().leak().as_bytes()).unwrap()
    }

    #[test]
    fn numbers_may_be_strings() {
        let lock =
            parse(&json!({"mb_project_uuid": "u", "brz_project_id": "23131993", "pid": "48401"}));
        assert_eq!((lock.id, lock.pid), (Some(23_131_993), PidField::Number(48_401)));
        assert_eq!(lock.key().unwrap().to_string(), "u-23131993");
    }

    #[test]
    fn ids_that_are_none() {
        for id in [
            json!(0),
            json!(-1),
            json!(1.0),
            json!(1_i64 << 53),
            json!("+1"),
            json!(""),
            json!(null),
            json!(" 1"),
        ] {
            assert_eq!(parse(&json!({"brz_project_id": id})).id, None, "{id}");
        }
        assert_eq!(parse(&json!({"brz_project_id": MAX_PROJECT_ID})).id, Some(MAX_PROJECT_ID));
        for uuid in [json!(""), json!(5), json!("a\nb"), json!("a "), json!("x".repeat(65))] {
            assert_eq!(parse(&json!({"mb_project_uuid": uuid})).uuid, None, "{uuid}");
        }
    }

    #[test]
    fn pids_that_are_none() {
        let bad = [
            json!(0),
            json!(-5),
            json!("-5"),
            json!(1.5),
            json!(""),
            json!("12a"),
            json!(true),
            json!([1]),
            json!(1_i64 << 31),
            json!(u64::MAX),
            json!("99999999999999999999"),
        ];
        for pid in bad {
            assert_eq!(parse(&json!({"pid": pid})).pid, PidField::Bad, "{pid}");
        }
        assert_eq!(parse(&json!({"pid": null})).pid, PidField::Missing);
        assert_eq!(parse(&json!({})).pid, PidField::Missing);
        assert_eq!(parse(&json!({"pid": i32::MAX})).pid, PidField::Number(i32::MAX.into()));
    }

    #[test]
    fn times_of_start() {
        let at = |value: Value| parse(&json!({"started_timestamp": value})).started;
        assert_eq!(at(json!(1_736_937_045)), Some(Timestamp(1_736_937_045_000)));
        assert_eq!(at(json!("1736937045")), Some(Timestamp(1_736_937_045_000)));
        assert_eq!(at(json!(1_736_937_045.25)), Some(Timestamp(1_736_937_045_250)));
        for none in [
            json!(0),
            json!(-1),
            json!(1_736_937_045_000_i64),
            json!(1e300),
            json!(0.5),
            json!("soon"),
            json!(null),
            json!(1_736_937_045_000.5),
        ] {
            assert_eq!(at(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn contents_that_say_nothing() {
        assert_eq!(content(b"").unwrap_err(), Unparsable::Empty);
        assert_eq!(content(b" \n").unwrap_err(), Unparsable::Empty);
        assert_eq!(content(b"\xff{}").unwrap_err(), Unparsable::NotUtf8);
        for text in ["[]", "7", "null", "{", "{} {}", "5d9e2f10-23131996", "{\"a\": NaN}"] {
            assert_eq!(content(text.as_bytes()).unwrap_err(), Unparsable::NotJson, "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(content(deep.as_bytes()).unwrap_err(), Unparsable::NotJson);
    }

    #[test]
    fn names() {
        let uuid = "3c56530e-ca31-4a7c-964f-e69be01f382a";
        assert_eq!(name(&format!("{uuid}-7.lock")).unwrap().to_string(), format!("{uuid}-7"));
        for other in ["composer.lock", "composer-2.lock", "-1.lock", ".lock", "package-lock-5.lock"]
        {
            assert_eq!(name(other), None, "{other}");
        }
        for tail in
            ["", "-", "-0", "-9007199254740992", "-99999999999999999999", "-1x", "-+1", "-1.lock"]
        {
            assert_eq!(name(&format!("{uuid}{tail}.lock")), None, "{tail}");
        }
        assert_eq!(name(&format!("{uuid}-7.json")), None);
        assert_eq!(name(&format!("{}-7.lock", uuid.replace('3', "g"))), None);
    }

    /// Objects with our fields in any order, twice, or of any kind, escapes and numbers that are none among them.
    fn any_json() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec![
            "mb_project_uuid",
            "brz_project_id",
            "pid",
            "p\\u0069d",
            "started_timestamp",
            "x",
        ]);
        let value = prop::sample::select(vec![
            "1",
            "-1",
            "1.5",
            "1e400",
            "18446744073709551615",
            "\"7\"",
            "\"u\"",
            "\"\\u0075\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\t\"",
            "null",
            "true",
            "[1,[{}]]",
            "{\"pid\":3}",
            "nul",
            "",
        ]);
        prop::collection::vec((key, value), 0..6).prop_map(|fields| {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        })
    }

    #[test]
    fn a_name_that_is_nearly_the_one() {
        let key = Key { mb_project_uuid: "u-1".to_owned(), brz_project_id: 7 };
        assert!(is_canonical("u-1-7.lock", &key));
        for other in
            ["u-1-07.lock", "u-1-+7.lock", "u-1-7", "U-1-7.lock", "u-1-77.lock", "u-1-.lock"]
        {
            assert!(!is_canonical(other, &key), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = content(&bytes);
        }

        #[test]
        fn any_name_is_read_without_a_panic(text in ".*") {
            let _ = name(&text);
            let _ = name(&format!("{text}.lock"));
        }

        #[test]
        fn any_value_in_any_field_keeps_the_ranges(text in "-?[0-9]{0,25}(\\.[0-9]{0,5})?(e[0-9]{1,3})?", quoted: bool) {
            let value = if quoted { format!("\"{text}\"") } else { text };
            let lock = format!("{{\"brz_project_id\": {value}, \"pid\": {value}, \"started_timestamp\": {value}}}");
            if let Ok(lock) = content(lock.as_bytes()) {
                prop_assert!(lock.id.is_none_or(|id| is_project_id(&id)));
                prop_assert!(lock.started.is_none_or(|it| (1..=LATEST).contains(&it.secs())));
                if let PidField::Number(pid) = lock.pid {
                    prop_assert!(i32::try_from(pid).is_ok_and(|pid| pid > 0));
                }
            }
        }

        #[test]
        fn a_canonical_name_is_read_back(id in 1..=MAX_PROJECT_ID, uuid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}") {
            let key = Key { mb_project_uuid: uuid, brz_project_id: id };
            prop_assert!(is_canonical(&canonical_name(&key), &key));
            prop_assert_eq!(name(&canonical_name(&key)), Some(key));
        }

        #[test]
        fn what_is_read_of_any_json_is_what_a_map_of_all_of_it_says(text in any_json()) {
            let map = serde_json::from_str::<Map<String, Value>>(&text);
            let parsed = content(text.as_bytes());
            prop_assert_eq!(map.is_ok(), parsed.is_ok(), "{}", text);
            if let (Ok(map), Ok(parsed)) = (map, parsed) {
                prop_assert_eq!(parsed.has_fields, !map.is_empty());
                let uuid = map.get("mb_project_uuid").and_then(Value::as_str);
                prop_assert_eq!(parsed.uuid.as_deref(), uuid.filter(|it| is_uuid(it)));
                let id = map.get("brz_project_id").and_then(Value::as_i64).filter(is_project_id);
                prop_assert!(id.is_none() || parsed.id == id);
                let none = matches!(map.get("pid"), None | Some(Value::Null));
                prop_assert_eq!(parsed.pid == PidField::Missing, none);
            }
        }
    }
}
