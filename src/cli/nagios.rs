//! `status --nagios`: one line with figures for Nagios, Icinga and whatever else runs their plugins, and their exit codes
//! (<https://www.monitoring-plugins.org/doc/guidelines.html>).

use std::fmt::Write as _;

use super::exit::Exit;
use super::others::Others;
use super::output::{Answer, printable};
use super::status_table::{Report, Seen};
use crate::config::MinWorking;
use crate::domain::verdict::State;

/// Nodes that do not work are named in lines of their own, so many at most.
const NAMED: usize = 20;

/// The four states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Service {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Some nodes are down: critical if fewer work than `min_working` asks for, else a warning. None is, and of some it cannot be
/// told: unknown. `missed` is what was asked for and is not there.
pub(super) fn answer(
    report: &Report,
    others: &Others,
    missed: &[String],
    min_working: MinWorking,
    is_named: bool,
) -> Answer {
    let states: Vec<State> = report.seen.iter().map(|it| it.state(others)).collect();
    let (total, working) = (states.len(), report.working);
    let down = states.iter().filter(|state| **state == State::Down).count();
    let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    let service = match (down, missed.is_empty() && down + working == total) {
        (0, true) => Service::Ok,
        (0, false) => Service::Unknown,
        _ if min_working.is_met(count(working), count(total)) => Service::Warning,
        _ => Service::Critical,
    };
    let (word, unknown) = (service.word(), total - working - down);
    let mut text = format!("PROCWARDEN {word} - {working} of {total} nodes work");
    // Into memory nothing fails, here and below.
    let _ = write!(text, " | working={working};;;0;{total} down={down};;;0;{total}");
    let _ = write!(text, " unknown={unknown};;;0;{total}");
    if is_named {
        for it in &report.seen {
            if let (name, Some(ms)) = (it.name(), it.latency_ms()) {
                let _ = write!(text, " {}={}.{:03}s;;;0", label(name), ms / 1000, ms % 1000);
            }
        }
    }
    text.push('\n');
    for note in missed {
        let _ = writeln!(text, "{}", plain(note));
    }
    let bad = report.seen.iter().zip(states).filter(|(_, state)| *state != State::Up);
    for (it, state) in bad.clone().take(NAMED) {
        let (name, message) = (plain(it.name()), plain(it.message()));
        let _ = writeln!(text, "{name}: {state}: {message}");
    }
    let more = bad.count().saturating_sub(NAMED);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    Answer::ok(text).ending(Exit::Nagios(service as u8))
}

/// What is answered where nothing could be looked at.
#[must_use]
pub fn failed(problem: &str) -> Answer {
    let text = format!("PROCWARDEN {} - {}\n", Service::Unknown.word(), plain(problem));
    Answer::ok(text).ending(Exit::Nagios(Service::Unknown as u8))
}

/// On one line, and without the bar behind which figures begin.
fn plain(text: &str) -> String {
    printable(text).replace('|', "/")
}

/// Quoted; what would end it or the figure is not in it.
fn label(name: &str) -> String {
    let harmless = plain(name).replace('=', "_").replace('\'', "''");
    format!("'{harmless}'")
}

impl Seen {
    fn name(&self) -> &str {
        match self {
            Self::Now(it) => &it.stored.node.name,
            Self::Record(view) => &view.node.name,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Now(it) => &it.outcome.finding.message,
            Self::Record(view) => &view.verdict.message,
        }
    }

    fn latency_ms(&self) -> Option<u32> {
        match self {
            Self::Now(it) => it.outcome.latency_ms(),
            Self::Record(view) => view.verdict.latency_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_or_an_error_ends_the_line_or_begins_a_figure() {
        assert_eq!(label("it's a=b|c\nd"), "'it''s a_b/c\\nd'");
        let answer = failed("the configuration is at fault:\na | b=1\u{1b}[2J");
        assert_eq!(
            answer.text,
            "PROCWARDEN UNKNOWN - the configuration is at fault:\\na / b=1\\u{1b}[2J\n"
        );
        assert_eq!(answer.exit.code(), 3);
    }

    #[test]
    fn the_codes_are_those_of_plugins() {
        let codes = [Service::Ok, Service::Warning, Service::Critical, Service::Unknown]
            .map(|it| (it as u8, it.word()));
        assert_eq!(codes, [(0, "OK"), (1, "WARNING"), (2, "CRITICAL"), (3, "UNKNOWN")]);
    }
}
