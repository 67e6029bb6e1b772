//! Alerts as people read them: the line that sums a message up, and the text of a mail. Pure.

use std::fmt::Write as _;

use super::alert::{Alert, Kind, Status, Subject};
use super::plain::plain;

/// Most characters of a name in the line that sums up.
const NAME: usize = 80;

/// Most characters of what is said of one alert in a mail. RFC 5322 allows lines of 998; a reader wants less.
const SAID: usize = 300;

/// What is begun and ended, in the order in which it is told.
const ORDER: [(Kind, Status); 9] = [
    (Kind::InstanceLost, Status::Firing),
    (Kind::NodeDown, Status::Firing),
    (Kind::MigrationError, Status::Firing),
    (Kind::MigrationStalled, Status::Firing),
    (Kind::InstanceLost, Status::Resolved),
    (Kind::NodeDown, Status::Resolved),
    (Kind::MigrationError, Status::Resolved),
    (Kind::MigrationStalled, Status::Resolved),
    (Kind::Test, Status::Firing),
];

/// The noun, and what is said of it.
const fn phrase(kind: Kind, status: Status) -> (&'static str, &'static str) {
    match (kind, status) {
        (Kind::NodeDown, Status::Firing) => ("node", "down"),
        (Kind::NodeDown, Status::Resolved) => ("node", "no longer down"),
        (Kind::MigrationError, Status::Firing) => ("migration", "in error"),
        (Kind::MigrationError, Status::Resolved) => ("migration", "no longer in error"),
        (Kind::MigrationStalled, Status::Firing) => ("migration", "stalled"),
        (Kind::MigrationStalled, Status::Resolved) => ("migration", "no longer stalled"),
        (Kind::InstanceLost, Status::Firing) => ("instance", "lost"),
        (Kind::InstanceLost, Status::Resolved) => ("instance", "back"),
        (Kind::Test, _) => ("test", "of the way of alerts"),
    }
}

/// The end of a node that is not watched any more, which did not come back.
fn gone(alert: &Alert) -> Option<&str> {
    let is_over = (alert.kind, alert.status) == (Kind::NodeDown, Status::Resolved);
    Some(alert.state.as_str()).filter(|state| is_over && matches!(*state, "deleted" | "disabled"))
}

/// One line: `node 'main' down: api_timeout`, `50 nodes down, 1 node no longer down`.
#[must_use]
pub fn summary(alerts: &[Alert]) -> String {
    if let [alert] = alerts {
        let (noun, said) = phrase(alert.kind, alert.status);
        if alert.kind == Kind::Test {
            return format!("{noun} {said}");
        }
        let said = gone(alert).unwrap_or(said);
        let why = alert.reason.as_deref().filter(|_| alert.status == Status::Firing);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        return format!("{noun} '{}' {said}{why}", plain(&name(&alert.subject), NAME));
    }
    let parts: Vec<String> = groups(alerts)
        .map(|(kind, status, group)| {
            let (noun, said) = phrase(kind, status);
            format!("{} {noun}{} {said}", group.len(), if group.len() == 1 { "" } else { "s" })
        })
        .collect();
    parts.join(", ")
}

/// The text of a mail: a heading for each kind, a line for each alert.
#[must_use]
pub fn body(alerts: &[Alert]) -> String {
    let mut text = String::new();
    for (kind, status, group) in groups(alerts) {
        let (noun, said) = phrase(kind, status);
        let plural = if group.len() == 1 { "" } else { "s" };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{} {noun}{plural} {said}:", group.len());
        for alert in group {
            let _ = writeln!(text, "  {}", line(alert));
        }
        text.push('\n');
    }
    text
}

fn groups(alerts: &[Alert]) -> impl Iterator<Item = (Kind, Status, Vec<&Alert>)> {
    ORDER.into_iter().filter_map(|(kind, status)| {
        let is_one = |alert: &&Alert| (alert.kind, alert.status) == (kind, status);
        let group: Vec<&Alert> = alerts.iter().filter(is_one).collect();
        (!group.is_empty()).then_some((kind, status, group))
    })
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::Node { name, .. } | Subject::Instance { name } => name.clone(),
        Subject::Migration { id, .. } => id.to_string(),
    }
}

fn line(alert: &Alert) -> String {
    let mut line = format!("{}  ", alert.at);
    let _ = match &alert.subject {
        Subject::Node { name, title, address, .. } => {
            let title = title.as_deref().filter(|title| !title.is_empty());
            let title = title.map(|title| format!(" \"{title}\"")).unwrap_or_default();
            write!(line, "{name}{title} at {address}")
        }
        Subject::Migration { id, mb_project_uuid, run } => {
            write!(line, "{id} of {mb_project_uuid}, run {run}")
        }
        Subject::Instance { name } => line.write_str(name),
    };
    let told = [alert.reason.as_deref(), alert.message.as_deref()].into_iter().flatten();
    // What it suffered from is over.
    let parts: Vec<&str> = gone(alert).map_or_else(|| told.collect(), |state| vec![state]);
    for part in parts {
        let _ = write!(line, ": {part}");
    }
    plain(&line, SAID)
}
