//! Two clocks: the wall clock for what people and files say, the boot clock for how long it has been.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment on the wall clock, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds since the Unix epoch, as lock files have them.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment so much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// From a time as databases print it, `2025-01-15 10:30:45`, with or without a fraction and a zone; UTC without one.
    /// None for anything else, such as `0000-00-00 00:00:00`.
    #[must_use]
    pub fn lenient(text: &str) -> Option<Self> {
        let text = text.trim().replacen('T', " ", 1).replace('Z', "+00");
        let zoned = DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z");
        let naive = || NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f");
        let ms = zoned
            .map(|it| it.timestamp_millis())
            .or_else(|_| naive().map(|it| it.and_utc().timestamp_millis()));
        ms.ok().map(Self)
    }

    /// From RFC 3339, with any offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|it| Self(it.timestamp_millis()))
    }

    /// RFC 3339, UTC, whole seconds, `+00:00` (the contract's form for every time we make).
    #[must_use]
    pub fn rfc3339(self) -> String {
        DateTime::from_timestamp_millis(self.0)
            .map(|t| t.to_rfc3339_opts(SecondsFormat::Secs, false))
            .unwrap_or_default()
    }

    /// The form of an HTTP header (RFC 9110, section 5.6.7).
    #[must_use]
    pub fn http_date(self) -> String {
        DateTime::from_timestamp_millis(self.0)
            .map(|t| t.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .unwrap_or_default()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("must be a time of RFC 3339"))
    }
}

/// A moment on `CLOCK_BOOTTIME`, in milliseconds since the machine started.
///
/// It never steps and goes on while the machine sleeps, so ages and settle times are measured on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uptime(pub i64);

impl Uptime {
    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment plus a duration.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This moment minus a duration; may be before the machine started.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Both clocks read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The boot clock.
    pub up: Uptime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_with_an_offset() {
        assert_eq!(Timestamp(1_736_937_045_999).rfc3339(), "2025-01-15T10:30:45+00:00");
        assert_eq!(Timestamp(-1).rfc3339(), "1969-12-31T23:59:59+00:00");
    }

    #[test]
    fn a_time_as_databases_print_it() {
        let same = Some(Timestamp(1_736_937_045_000));
        for text in [
            "2025-01-15 10:30:45",
            "2025-01-15 10:30:45.000000",
            "2025-01-15 10:30:45+00",
            "2025-01-15 13:30:45+03",
            "2025-01-15 13:30:45.000+03:00",
            "2025-01-15T10:30:45Z",
            "2025-01-15T10:30:45.000000Z",
            "2025-01-15T10:30:45+00:00",
        ] {
            assert_eq!(Timestamp::lenient(text), same, "{text}");
        }
        for text in ["", "0000-00-00 00:00:00", "2025-01-15", "1736937045", "now"] {
            assert_eq!(Timestamp::lenient(text), None, "{text}");
        }
    }

    #[test]
    fn an_age_is_never_negative() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Uptime(9).since(Uptime(5)), Duration::from_millis(4));
    }
}
