//! `status`: nodes are checked now, but for those that only another instance can look at.

use super::args::StatusArgs;
use super::exit::{CliError, Exit};
use super::json;
use super::nagios;
use super::others::Others;
use super::output::{Answer, Format, printable};
use super::progress::Progress;
use super::screen::Screen;
use super::status_table::{Report, Seen, all, one};
use crate::config::Settings;
use crate::domain::Method;
use crate::monitor::{Monitor, MonitorError};
use crate::registry::parse_id;
use crate::store::{Open, ServerLock, StoreError, StoredNode, sqlite_path};

pub(super) async fn run(
    settings: &Settings,
    args: &StatusArgs,
    screen: impl Into<Screen>,
) -> Result<Answer, CliError> {
    let screen = screen.into();
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
    let others = Others::read(monitor.store(), settings).await?;
    let nodes = monitor.store().nodes().await?;
    let Asked { nodes, missed } = choose(nodes, &args.nodes);
    let single = args.nodes.len() == 1;
    let method = args.method.unwrap_or(if single { Method::Full } else { settings.nodes.method });
    let (seen, unsaved) = look(&monitor, &others, nodes, method, args.save).await?;
    monitor.close().await;

    let report = Report::new(seen, &others);
    let exit = if missed.is_empty() { Exit::Ok } else { Exit::CouldNotTell };
    if args.nagios {
        let (least, is_named) = (settings.health.min_working, !args.nodes.is_empty());
        return Ok(nagios::answer(&report, &others, &missed, least, is_named));
    }
    let mut answer = shown(&report, &others, args, screen).ending(report.exit.worse(exit));
    answer.notes = missed;
    Ok(match unsaved {
        0 => answer,
        n => answer.noting(format!("not recorded: {n} nodes that other instances answer for")),
    })
}

/// Checks what can be looked at from here, records it if asked to, and takes the rest from the record. Gives also how
/// many looks were not recorded because others answer for those nodes.
async fn look(
    monitor: &Monitor,
    others: &Others,
    nodes: Vec<StoredNode>,
    method: Method,
    save: bool,
) -> Result<(Vec<Seen>, usize), MonitorError> {
    let (near, far): (Vec<_>, Vec<_>) =
        nodes.into_iter().partition(|stored| others.may_look(&stored.node));
    let (own, near): (Vec<_>, Vec<_>) =
        near.into_iter().partition(|stored| save && others.owns(stored));
    let unsaved = if save { near.len() } else { 0 };
    let progress = Progress::of(own.len() + near.len());
    let step = || progress.step();
    let (own, near) = tokio::try_join!(
        Box::pin(monitor.check_these_telling(own, method, save, step)),
        Box::pin(monitor.check_these_telling(near, method, false, step))
    )?;
    drop(progress);
    let looks = own.nodes.into_iter().chain(near.nodes).map(|it| Seen::Now(Box::new(it)));
    let record = far.iter().map(|stored| Seen::Record(Box::new(others.node(stored))));
    Ok((looks.chain(record).collect(), unsaved))
}

fn shown(report: &Report, others: &Others, args: &StatusArgs, screen: Screen) -> Answer {
    let single = args.nodes.len() == 1;
    match (args.output.output, report.seen.first().filter(|_| single)) {
        (Format::Json, Some(node)) => Answer::json(&json::status(node, others)),
        (Format::Json, None) if single => Answer::ok(""),
        (Format::Json, None) => Answer::json(&json::report(report, others)),
        (Format::Table, Some(_)) => Answer::ok(one(report, others, screen)),
        (Format::Table, None) if report.seen.is_empty() && args.nodes.is_empty() => {
            Answer::ok("no nodes; `procwarden nodes add NAME --port PORT` adds one\n")
        }
        (Format::Table, None) if report.seen.is_empty() => Answer::ok(""),
        (Format::Table, None) => Answer::ok(all(report, others, screen)),
    }
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::Path;

    use serde_json::Value;

    use super::super::args::Output;
    use super::*;
    use crate::domain::node::Password;
    use crate::domain::verdict::State;
    use crate::registry::NodePatch;

    fn settings(dir: &Path) -> Settings {
        let mut settings = Settings::default();
        let url = format!("sqlite://{}", dir.join("p.db").display());
        settings.database.url = Password::new(url);
        "here".clone_into(&mut settings.instance.name);
        settings
    }

    /// A node on a port that nobody listens on.
    fn named(name: &str) -> NodePatch {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        NodePatch { name: Some(name.to_owned()), port: Some(port), ..NodePatch::default() }
    }

    async fn with_nodes(settings: &Settings, names: &[(&str, bool)]) {
        let monitor = Monitor::open(settings, Open::Create).await.unwrap();
        for (name, available) in names {
            let patch = NodePatch { available: Some(*available), ..named(name) };
            monitor.registry().create(patch).await.unwrap();
        }
        monitor.close().await;
    }

    fn asking(nodes: &[&str], format: Format) -> StatusArgs {
        StatusArgs {
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
            method: Some(Method::Port),
            save: false,
            all: false,
            nagios: false,
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

    /// Nodes as a shared database holds them, with their owners; only `mine` and `any` may be looked at from `here`.
    async fn shared(monitor: &Monitor) -> Vec<StoredNode> {
        for (name, placement) in [("mine", "here"), ("any", "any"), ("far", "b"), ("lost", "c")] {
            let patch = NodePatch { instance: Some(Some(placement.into())), ..named(name) };
            monitor.registry().create(patch).await.unwrap();
        }
        let mut nodes = monitor.store().nodes().await.unwrap();
        for (stored, owner) in nodes.iter_mut().zip(["here", "b", "b", "c"]) {
            stored.owner = Some(owner.to_owned());
            if stored.node.name != "mine" {
                stored.verdict.state = State::Up;
            }
        }
        nodes
    }

    #[tokio::test]
    async fn what_only_another_instance_can_see_is_told_from_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Monitor::open(&settings(dir.path()), Open::Create).await.unwrap();
        let others = Others::of("here", &["b"]);
        let nodes = shared(&monitor).await;
        let (seen, unsaved) =
            look(&monitor, &others, nodes.clone(), Method::Port, false).await.unwrap();
        let report = Report::new(seen, &others);
        assert_eq!((report.working, report.exit, unsaved), (1, Exit::CouldNotTell, 0));
        let body = json::report(&report, &others);
        let told: Vec<_> = body["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (&it["state"], &it["live"]))
            .collect();
        let (yes, no) = (&Value::Bool(true), &Value::Bool(false));
        let words = ["down", "down", "up", "unknown"].map(Value::from);
        let expected: Vec<_> = words.iter().zip([yes, yes, no, no]).collect();
        assert_eq!(told, expected, "{body:#}");
        assert_eq!(body["nodes"][3]["reason"], "instance_lost");
        let table = all(&report, &others, 120);
        assert!(table.contains("record of 'b'") && table.contains("'c' is lost"), "{table}");
        assert!(table.ends_with("2 checked, 2 from the record, 1 working, 3 failed\n"), "{table}");

        for (asked, exit) in [(0, Exit::Down), (2, Exit::Ok), (3, Exit::CouldNotTell)] {
            let nodes = vec![nodes[asked].clone()];
            let (seen, _) = look(&monitor, &others, nodes, Method::Port, false).await.unwrap();
            let report = Report::new(seen, &others);
            assert_eq!(report.exit, exit, "{asked}");
            let status = json::status(&report.seen[0], &others);
            assert_eq!(status["status"], exit == Exit::Ok, "{status:#}");
            let live = status["details"].get("live");
            assert_eq!(live, (asked > 0).then_some(no), "{status:#}");
            assert!(one(&report, &others, 80).contains("CHECK"));
        }
    }

    #[tokio::test]
    async fn only_what_is_answered_for_here_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Monitor::open(&settings(dir.path()), Open::Create).await.unwrap();
        let others = Others::of("here", &["b"]);
        let nodes = shared(&monitor).await;
        let (seen, unsaved) = look(&monitor, &others, nodes, Method::Port, true).await.unwrap();
        assert_eq!((seen.len(), unsaved), (4, 1));
        let after = monitor.store().nodes().await.unwrap();
        let recorded: Vec<_> = after.iter().filter(|it| it.verdict.checked_at.is_some()).collect();
        assert_eq!(recorded.len(), 1);
        assert_eq!(
            (recorded[0].node.name.as_str(), recorded[0].verdict.state),
            ("mine", State::Down)
        );
    }
}
