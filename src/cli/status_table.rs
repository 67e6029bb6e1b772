//! `status` for people: one row for each node, and for a single node each of its checks.

use serde_json::Value;

use super::exit::Exit;
use super::json;
use super::others::Others;
use super::output::{ago, dash, or_dash};
use super::screen::{Colour, Screen};
use super::table::{Kind, Table};
use crate::clock;
use crate::domain::observation::Reason;
use crate::domain::verdict::State;
use crate::http::Told;
use crate::monitor::CheckedNode;
use crate::snapshot::{NodeView, Standing};

/// A node that was asked for.
#[derive(Debug)]
pub(super) enum Seen {
    /// Looked at.
    Now(Box<CheckedNode>),
    /// Only another instance can look at it; this is what that one recorded.
    Record(Box<NodeView>),
}

impl Seen {
    pub(super) fn id(&self) -> i64 {
        match self {
            Self::Now(it) => it.stored.node.id,
            Self::Record(view) => view.node.id,
        }
    }

    pub(super) fn state(&self, others: &Others) -> State {
        match self {
            Self::Now(it) => it.outcome.state(),
            Self::Record(view) => others.told(view).state,
        }
    }
}

/// All nodes that were asked for, by id.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) seen: Vec<Seen>,
    pub(super) working: usize,
    pub(super) exit: Exit,
}

impl Report {
    pub(super) fn new(mut seen: Vec<Seen>, others: &Others) -> Self {
        seen.sort_by_key(Seen::id);
        let states: Vec<State> = seen.iter().map(|it| it.state(others)).collect();
        let working = states.iter().filter(|state| **state == State::Up).count();
        let exit = states.into_iter().map(exit_of).fold(Exit::Ok, Exit::worse);
        Self { seen, working, exit }
    }
}

const fn exit_of(state: State) -> Exit {
    match state {
        State::Up => Exit::Ok,
        State::Down => Exit::Down,
        State::Unknown | State::Stale | State::Disabled => Exit::CouldNotTell,
    }
}

/// How a node in this state is shown.
pub(super) const fn colour_of(state: State) -> Option<Colour> {
    match state {
        State::Up => None,
        State::Down => Some(Colour::Bad),
        State::Unknown | State::Stale => Some(Colour::Doubtful),
        State::Disabled => Some(Colour::Faint),
    }
}

/// Every node, then the counts.
pub(super) fn all(report: &Report, others: &Others, screen: impl Into<Screen>) -> String {
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("NAME", Kind::Text),
        ("STATE", Kind::Whole),
        ("SINCE", Kind::Number),
        ("MS", Kind::Number),
        ("REASON", Kind::Whole),
        ("MESSAGE", Kind::Text),
    ]);
    let mut recorded = 0;
    for it in &report.seen {
        table.coloured(colour_of(it.state(others)));
        match it {
            Seen::Now(it) => table.row(checked(it)),
            Seen::Record(view) => {
                recorded += 1;
                table.row(record(view, others.told(view)));
            }
        }
    }
    let (total, working) = (report.seen.len(), report.working);
    let from_record =
        if recorded == 0 { String::new() } else { format!("{recorded} from the record, ") };
    format!(
        "{}{} checked, {from_record}{working} working, {} failed\n",
        table.render(screen),
        total - recorded,
        total - working
    )
}

fn checked(it: &CheckedNode) -> [String; 7] {
    let finding = &it.outcome.finding;
    [
        it.stored.node.id.to_string(),
        it.stored.node.name.clone(),
        it.outcome.state().to_string(),
        ago(Some(it.since()), clock::now().wall),
        it.outcome.latency_ms().map_or_else(dash, |ms| ms.to_string()),
        or_dash(finding.reason.map(Reason::as_str)),
        finding.message.clone().into_owned(),
    ]
}

fn record(view: &NodeView, told: Told<'_>) -> [String; 7] {
    let message = match &view.standing {
        Standing::Of { owner, .. } => format!("record of '{owner}': {}", told.message),
        Standing::Mine => format!("record: {}", told.message),
        Standing::Lost { .. } | Standing::Released => told.message.into_owned(),
    };
    [
        view.node.id.to_string(),
        view.node.name.clone(),
        told.state.to_string(),
        ago(view.verdict.since, clock::now().wall),
        dash(),
        or_dash(told.reason.map(Reason::as_str)),
        message,
    ]
}

/// One node: its row, then each of its checks with what was seen.
pub(super) fn one(report: &Report, others: &Others, screen: impl Into<Screen>) -> String {
    let screen = screen.into();
    let body = report.seen.first().map(|it| json::status(it, others)).unwrap_or_default();
    let details = &body["details"];
    let mut table = Table::new(&[
        ("CHECK", Kind::Whole),
        ("WORKS", Kind::Whole),
        ("MESSAGE", Kind::Text),
        ("SEEN", Kind::Text),
    ])
    .wrapping();
    let works = |check: &Value| check.get("status").and_then(Value::as_bool).unwrap_or_default();
    if let Some(checks) = details.get("checks").and_then(Value::as_object) {
        for (name, check) in checks {
            let details = check.get("details").unwrap_or(&Value::Null);
            table.row(check_row(name, works(check), details));
        }
    } else {
        let name = details.get("method").and_then(Value::as_str).unwrap_or("-");
        table.row(check_row(name, works(&body), details));
    }
    format!("{}\n{}", all(report, others, screen), table.render(screen))
}

fn check_row(name: &str, works: bool, details: &Value) -> [String; 4] {
    let text = |key: &str| {
        details.get(key).filter(|value| !value.is_null()).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    // The seen, told by the field that says most: an error before what stands behind a success.
    let seen = ["error", "status_code", "cmdline", "listener", "version"]
        .into_iter()
        .find_map(|key| text(key).map(|value| (key, value)));
    let seen = match seen {
        Some((key @ ("status_code" | "version"), value)) => format!("{key} {value}"),
        Some(("listener", _)) => {
            let part = |key: &str| details["listener"][key].to_string().replace('"', "");
            format!("{} {}", part("pid"), part("program"))
        }
        Some(("cmdline", value)) => {
            text("pid").map_or_else(|| value.clone(), |pid| format!("{pid} {value}"))
        }
        Some((_, value)) => value,
        None => text("pid").map_or_else(dash, |pid| format!("pid {pid}")),
    };
    [
        name.to_owned(),
        if works { "yes" } else { "no" }.to_owned(),
        text("message").unwrap_or_else(dash),
        seen,
    ]
}
