//! Where a client of the events stands: what it was told of each instance, in one text that it gives back.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::domain::Timestamp;

/// What stays as it is of an instance's name, which may have any letter; `:`, `,` and `@` divide.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest text, in bytes: it comes back in a header. A hundred instances with long names fit.
pub const LONGEST: usize = 4096;

/// The number of the last event that was told of each instance, and when that was.
///
/// As a text: `one:12,two:7@1736937045`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// By instance.
    pub told: BTreeMap<String, i64>,
    /// When, in whole seconds.
    pub at: Timestamp,
}

impl Cursor {
    /// Reads one that was given back; none if it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (places, at) = text.rsplit_once('@')?;
        let at = Timestamp::from_secs(number(at)?);
        let mut told = BTreeMap::new();
        for place in places.split(',').filter(|place| !place.is_empty()) {
            let (name, seq) = place.split_once(':')?;
            let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
            told.insert(name, number(seq)?);
        }
        Some(Self { told, at })
    }

    /// This event was told.
    pub fn move_to(&mut self, instance: &str, seq: i64, at: Timestamp) {
        self.at = self.at.max(at);
        match self.told.get_mut(instance) {
            Some(told) => *told = seq,
            None => drop(self.told.insert(instance.to_owned(), seq)),
        }
    }

    /// The text. Of more instances than fit only `instance` is in it: who comes back with it is told to begin anew.
    #[must_use]
    pub fn text(&self, instance: &str) -> String {
        let text = self.to_string();
        if text.len() <= LONGEST {
            return text;
        }
        let its = self.told.get_key_value(instance).map(|(name, seq)| (name.clone(), *seq));
        Self { told: its.into_iter().collect(), at: self.at }.to_string()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, seq)) in self.told.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}:{seq}", utf8_percent_encode(name, PLAIN))?;
        }
        write!(f, "@{}", self.at.secs())
    }
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(told: &[(&str, i64)]) -> Cursor {
        let told = told.iter().map(|(name, seq)| ((*name).to_owned(), *seq)).collect();
        Cursor { told, at: Timestamp::from_secs(61) }
    }

    #[test]
    fn it_comes_back_as_it_was_whatever_the_names() {
        let names = [("host: я\n", 12), ("b,@", 0), ("c", i64::MAX)];
        let text = cursor(&names).to_string();
        assert_eq!(text, "b%2C%40:0,c:9223372036854775807,host%3A%20%D1%8F%0A:12@61");
        assert_eq!(Cursor::parse(&text), Some(cursor(&names)));
        assert_eq!(Cursor::parse("@61"), Some(cursor(&[])));
    }

    #[test]
    fn what_is_none_of_ours_is_none() {
        for text in ["", "12", "a:12", "a@61", "a:-1@61", "a:1@", "a:1@x", "%ff:1@61", "a:1,b@61"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
        let long = format!("{}:1@61", "a".repeat(LONGEST));
        assert_eq!(Cursor::parse(&long), None);
    }

    #[test]
    fn of_too_many_instances_only_one_is_in_it() {
        let mut many = Cursor::default();
        for nth in 0..500 {
            many.move_to(&format!("instance-{nth}"), nth, Timestamp::from_secs(9));
        }
        assert_eq!(many.text("instance-7"), "instance-7:7@9");
    }
}
