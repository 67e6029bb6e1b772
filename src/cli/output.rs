//! What a command answers: gathered, then written once, with nothing in it that a terminal would obey.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::exit::Exit;
use crate::domain::Timestamp;
use crate::domain::plain::{escaped, is_harmful};

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For scripts: the shapes of the HTTP answers.
    Json,
}

/// What a command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output; whole lines.
    pub text: String,
    /// For standard error, one line each.
    pub notes: Vec<String>,
    /// How the program ends.
    pub exit: Exit,
}

impl Answer {
    /// All well, with this on standard output.
    #[must_use]
    pub fn ok(text: impl Into<String>) -> Self {
        Self { text: text.into(), notes: Vec::new(), exit: Exit::Ok }
    }

    /// JSON on one line.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::ok(format!("{value}\n"))
    }

    /// The same with another end.
    #[must_use]
    pub fn ending(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The same with a line for standard error.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Writes it. A reader that went away (`| head`) is no error.
    ///
    /// # Errors
    /// Any other failure of standard output.
    pub fn print(&self) -> io::Result<()> {
        for note in &self.notes {
            complain(note);
        }
        let mut out = io::stdout().lock();
        match out.write_all(self.text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// A line on standard error; when that is gone too there is nobody left to tell.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "procwarden: {}", printable_lines(line));
}

/// Text of somebody else made harmless: control characters (a terminal obeys them) and characters that
/// reorder or hide others are written as escapes.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// The same for text of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n')
}

fn escape(text: &str, keep: fn(char) -> bool) -> Cow<'_, str> {
    escaped(text, |c| is_harmful(c) && !keep(c))
}

/// How long something takes or took: `41 s`, `3 min`, `5 h`, `2 d`.
#[must_use]
pub fn elapsed(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..60 => format!("{secs} s"),
        secs @ 60..3600 => format!("{} min", secs / 60),
        secs @ 3600..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} d", secs / 86_400),
    }
}

/// How long ago a moment was, or `-`.
#[must_use]
pub fn ago(moment: Option<Timestamp>, now: Timestamp) -> String {
    moment.map_or_else(dash, |moment| elapsed(now.since(moment)))
}

/// What stands where there is nothing.
#[must_use]
pub fn dash() -> String {
    "-".to_owned()
}

/// The text or `-`.
#[must_use]
pub fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(dash, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_one_unit() {
        let table = [
            (0, "0 s"),
            (41, "41 s"),
            (59, "59 s"),
            (60, "1 min"),
            (239, "3 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
            (86_400 * 400, "400 d"),
        ];
        for (secs, text) in table {
            assert_eq!(elapsed(Duration::from_secs(secs)), text);
        }
        assert_eq!(ago(None, Timestamp(5)), "-");
        assert_eq!(ago(Some(Timestamp(0)), Timestamp(61_000)), "1 min");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(printable("\u{1b}[31mred\u{1b}[0m"), "\\u{1b}[31mred\\u{1b}[0m");
        assert_eq!(printable("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(printable("\u{9b}2J\u{202e}gpj"), "\\u{9b}2J\\u{202e}gpj");
        assert!(matches!(printable("Узел 1 – ok"), Cow::Borrowed("Узел 1 – ok")));
        assert_eq!(printable_lines("a\n\u{7}b"), "a\n\\u{7}b");
    }
}
