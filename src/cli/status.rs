//! `status`: nodes are checked now.

use serde_json::Value;

use super::args::StatusArgs;
use super::exit::{CliError, Exit};
use super::json;
use super::output::{Answer, Format, ago, dash, or_dash, printable};
use super::table::{Kind, Table};
use crate::clock;
use crate::config::Settings;
use crate::domain::Method;
use crate::domain::observation::Reason;
use crate::domain::verdict::State;
use crate::monitor::{CheckedNode, Monitor, Summary};
use crate::registry::parse_id;
use crate::store::{Open, ServerLock, StoreError, StoredNode, sqlite_path};

pub(super) async fn run(
    settings: &Settings,
    args: &StatusArgs,
    width: u16,
) -> Result<Answer, CliError> {
    let path = sqlite_path(settings.database.url.expose())?;
    if let Some(path) = path.as_ref().filter(|path| !path.exists()) {
        return Err(StoreError::Missing(path.clone()).into());
    }
    // Held until the verdicts are recorded: a server that starts meanwhile is another writer.
    let _lock = match path.filter(|_| args.save) {
        Some(path) => Some(ServerLock::take(&path)?),
        None => None,
    };
    let monitor = Monitor::open(settings, Open::Existing).await?;
    if args.save {
        // Before anything is checked: a server that runs is the one that records.
        monitor.lease().await?;
    }
    let nodes = monitor.store().nodes().await?;
    let asked = choose(nodes, &args.nodes);
    let single = args.nodes.len() == 1;
    let method = args.method.unwrap_or(if single { Method::Full } else { settings.nodes.method });
    let summary = monitor.check_these(asked.nodes, method, args.save).await?;
    monitor.close().await;

    let mut exit = summary.nodes.iter().map(exit_of).fold(Exit::Ok, Exit::worse);
    if !asked.missed.is_empty() {
        exit = exit.worse(Exit::CouldNotTell);
    }
    let answer = match (args.output.output, single.then(|| summary.nodes.first()).flatten()) {
        (Format::Json, Some(node)) => Answer::json(&json::status(node)),
        (Format::Json, None) if single => Answer::ok(""),
        (Format::Json, None) => Answer::json(&json::summary(&summary)),
        (Format::Table, Some(node)) => Answer::ok(one(node, &summary, width)),
        (Format::Table, None) if summary.nodes.is_empty() && args.nodes.is_empty() => {
            Answer::ok("no nodes; `procwarden nodes add NAME --port PORT` adds one\n")
        }
        (Format::Table, None) if summary.nodes.is_empty() => Answer::ok(""),
        (Format::Table, None) => Answer::ok(all(&summary, width)),
    };
    Ok(Answer { notes: asked.missed, ..answer.ending(exit) })
}

struct Asked {
    nodes: Vec<StoredNode>,
    /// What cannot be told, a line each.
    missed: Vec<String>,
}

/// The nodes that were asked for, each once; without names every available one.
fn choose(mut nodes: Vec<StoredNode>, names: &[String]) -> Asked {
    if names.is_empty() {
        nodes.retain(|stored| stored.node.available);
        return Asked { nodes, missed: Vec::new() };
    }
    let (mut chosen, mut missed) = (Vec::<StoredNode>::new(), Vec::new());
    for name in names {
        let id = parse_id(name);
        let found =
            nodes.iter().find(|it| id.map_or_else(|| it.node.name == *name, |id| it.node.id == id));
        match found {
            None => missed.push(format!("no node '{}'", printable(name))),
            Some(it) if !it.node.available => {
                missed.push(format!("node '{}' is disabled: it is not checked", printable(name)));
            }
            Some(it) if chosen.iter().all(|other| other.node.id != it.node.id) => {
                chosen.push(it.clone());
            }
            Some(_) => {}
        }
    }
    Asked { nodes: chosen, missed }
}

const fn exit_of(it: &CheckedNode) -> Exit {
    match it.outcome.state() {
        State::Up => Exit::Ok,
        State::Down => Exit::Down,
        State::Unknown | State::Stale | State::Disabled => Exit::CouldNotTell,
    }
}

fn all(summary: &Summary, width: u16) -> String {
    let now = clock::now().wall;
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("NAME", Kind::Text),
        ("STATE", Kind::Whole),
        ("SINCE", Kind::Number),
        ("MS", Kind::Number),
        ("REASON", Kind::Whole),
        ("MESSAGE", Kind::Text),
    ]);
    for it in &summary.nodes {
        let finding = &it.outcome.finding;
        table.row([
            it.stored.node.id.to_string(),
            it.stored.node.name.clone(),
            it.outcome.state().to_string(),
            ago(Some(it.since()), now),
            it.outcome.latency_ms().map_or_else(dash, |ms| ms.to_string()),
            or_dash(finding.reason.map(Reason::as_str)),
            finding.message.to_owned(),
        ]);
    }
    let Summary { total, working, failed, .. } = summary;
    format!("{}{total} checked, {working} working, {failed} failed\n", table.render(width))
}

/// One node: its row, then each of its checks with what was seen.
fn one(it: &CheckedNode, summary: &Summary, width: u16) -> String {
    let details = &it.outcome.details;
    let mut table = Table::new(&[
        ("CHECK", Kind::Whole),
        ("WORKS", Kind::Whole),
        ("MESSAGE", Kind::Text),
        ("SEEN", Kind::Text),
    ])
    .wrapping();
    if let Some(checks) = details.get("checks").and_then(Value::as_object) {
        for (name, check) in checks {
            let works = check.get("status").and_then(Value::as_bool).unwrap_or_default();
            table.row(check_row(name, works, check.get("details").unwrap_or(&Value::Null)));
        }
    } else {
        let name = it.outcome.observation.method().as_str();
        table.row(check_row(name, it.outcome.status, details));
    }
    format!("{}\n{}", all(summary, width), table.render(width))
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::Path;

    use super::super::args::Output;
    use super::*;
    use crate::domain::node::Password;
    use crate::registry::NodePatch;

    fn settings(dir: &Path) -> Settings {
        let mut settings = Settings::default();
        let url = format!("sqlite://{}", dir.join("p.db").display());
        settings.database.url = Password::new(url);
        "here".clone_into(&mut settings.instance.name);
        settings
    }

    async fn with_nodes(settings: &Settings, names: &[(&str, bool)]) {
        let monitor = Monitor::open(settings, Open::Create).await.unwrap();
        for (name, available) in names {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let patch = NodePatch {
                name: Some((*name).to_owned()),
                port: Some(listener.local_addr().unwrap().port()),
                available: Some(*available),
                ..NodePatch::default()
            };
            drop(listener);
            monitor.registry().create(patch).await.unwrap();
        }
        monitor.close().await;
    }

    fn asking(nodes: &[&str], format: Format) -> StatusArgs {
        StatusArgs {
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
            method: Some(Method::Port),
            save: false,
            output: Output { output: format },
        }
    }

    #[tokio::test]
    async fn a_missing_database_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let args = StatusArgs { save: true, ..asking(&[], Format::Table) };
        let error = run(&settings(dir.path()), &args, 80).await.unwrap_err();
        assert_eq!(error.exit(), Exit::CouldNotTell);
        assert!(error.to_string().starts_with("no database at "), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn exit_codes_follow_what_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        with_nodes(&settings, &[]).await;
        let empty = run(&settings, &asking(&[], Format::Json), 80).await.unwrap();
        assert_eq!(empty.exit, Exit::Ok);
        assert_eq!(empty.text, "{\"total\":0,\"working\":0,\"failed\":0,\"nodes\":[]}\n");

        with_nodes(&settings, &[("a", true), ("off", false)]).await;
        for (nodes, exit, notes) in [
            (&[][..], Exit::Down, 0),
            (&["a", "1", "a"], Exit::Down, 0),
            (&["off"], Exit::CouldNotTell, 1),
            (&["a", "nobody"], Exit::CouldNotTell, 1),
        ] {
            let answer = run(&settings, &asking(nodes, Format::Table), 80).await.unwrap();
            assert_eq!((answer.exit, answer.notes.len()), (exit, notes), "{nodes:?}");
        }
    }

    #[tokio::test]
    async fn one_node_is_answered_as_its_own_route_does() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        with_nodes(&settings, &[("a", true)]).await;
        let answer = run(&settings, &asking(&["a"], Format::Json), 80).await.unwrap();
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(body["status"], false);
        assert_eq!(body["details"]["message"], "Port is not in use");
        let table = run(&settings, &asking(&["a"], Format::Table), 80).await.unwrap().text;
        assert!(table.contains("1 checked, 0 working, 1 failed"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }

    #[tokio::test]
    async fn nothing_is_saved_while_a_server_holds_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        with_nodes(&settings, &[("a", true)]).await;
        let held = ServerLock::take(&dir.path().join("p.db")).unwrap();
        let args = StatusArgs { save: true, ..asking(&[], Format::Table) };
        let error = run(&settings, &args, 80).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Held);
        drop(held);
        run(&settings, &args, 80).await.unwrap();
        let monitor = Monitor::open(&settings, Open::Existing).await.unwrap();
        assert_eq!(monitor.registry().get("a").await.unwrap().verdict.state, State::Down);
    }
}
