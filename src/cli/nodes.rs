//! `nodes`: the registry. A server that runs notices each change within a second.

use serde_json::{Value, json};

use super::exit::CliError;
use super::json;
use super::node_discover;
use super::node_file;
use super::node_import;
use super::node_options::{ImportArgs, NodeOptions, NodesCommand, SetArgs, clear};
use super::others::Others;
use super::output::{Answer, Format, ago, or_dash, printable};
use super::screen::Screen;
use super::status_table::colour_of;
use super::table::{Kind, Table, listing};
use crate::clock;
use crate::config::Settings;
use crate::domain::observation::Reason;
use crate::domain::service;
use crate::monitor::Monitor;
use crate::registry::NodePatch;
use crate::store::{Open, StoredNode};

pub(super) async fn run(
    settings: &Settings,
    command: NodesCommand,
    screen: impl Into<Screen>,
) -> Result<Answer, CliError> {
    let screen = screen.into();
    let open =
        if matches!(command, NodesCommand::Add { .. }) { Open::Create } else { Open::Existing };
    match command {
        NodesCommand::List(output) => {
            let (monitor, others) = opened(settings, open).await?;
            Ok(list(&monitor.registry().list().await?, &others, output.output, screen))
        }
        NodesCommand::Show { node, output } => {
            let (monitor, others) = opened(settings, open).await?;
            Ok(show(&monitor.registry().get(&node).await?, &others, output.output, screen.width))
        }
        NodesCommand::Add { name, port, options, unavailable, output } => {
            let hint = visible(&options);
            let mut patch = options.into_patch(std::io::stdin().lock())?;
            patch.name = Some(name);
            patch.port = Some(port);
            patch.available = unavailable.then_some(false);
            let (monitor, others) = opened(settings, open).await?;
            let made = monitor.registry().create(patch).await?;
            Ok(changed("added", &made, &others, output.output, hint))
        }
        NodesCommand::Discover { add, output } => {
            Box::pin(node_discover::run(settings, add, output.output, screen)).await
        }
        NodesCommand::Set(args) => set(settings, *args).await,
        NodesCommand::Export { secrets } => node_file::export(settings, secrets).await,
        NodesCommand::Import(ImportArgs { file: Some(file), update, dry_run, output, .. }) => {
            let how = (update, dry_run);
            Box::pin(node_file::import(settings, &file, how, output.output, screen)).await
        }
        NodesCommand::Import(args) => {
            Box::pin(node_import::run(settings, args, screen.width)).await
        }
        NodesCommand::Remove { node } => {
            let (monitor, others) = opened(settings, open).await?;
            let gone = monitor.registry().delete(&node).await?;
            Ok(changed("removed", &gone, &others, Format::Table, None))
        }
    }
}

async fn opened(settings: &Settings, open: Open) -> Result<(Monitor, Others), CliError> {
    let monitor = Box::pin(Monitor::open(settings, open)).await?;
    let others = Others::read(monitor.store(), settings).await?;
    Ok((monitor, others))
}

async fn set(settings: &Settings, args: SetArgs) -> Result<Answer, CliError> {
    let hint = visible(&args.options);
    let mut patch = args.options.into_patch(std::io::stdin().lock())?;
    patch.name = args.name;
    patch.port = args.port;
    patch.available = match (args.available, args.unavailable) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    for field in args.clear {
        clear(&mut patch, field)?;
    }
    if patch == NodePatch::default() {
        return Err(CliError::Usage("nodes set: nothing to change was given".to_owned()));
    }
    let (monitor, others) = opened(settings, Open::Existing).await?;
    let node = monitor.registry().update(&args.node, patch).await?;
    Ok(changed("changed", &node, &others, args.output.output, hint))
}

fn visible(options: &NodeOptions) -> Option<&'static str> {
    options.password.is_some().then_some(
        "a password on the command line can be seen by other users (ps): prefer --password-stdin",
    )
}

fn changed(
    what: &str,
    stored: &StoredNode,
    others: &Others,
    format: Format,
    hint: Option<&str>,
) -> Answer {
    let answer = match format {
        Format::Json => answer(&json::node(stored, others)),
        Format::Table => {
            let node = &stored.node;
            Answer::ok(format!("{what} node {} '{}'\n", node.id, printable(&node.name)))
        }
    };
    match hint {
        Some(hint) => answer.noting(hint),
        None => answer,
    }
}

fn list(
    nodes: &[StoredNode],
    others: &Others,
    format: Format,
    screen: impl Into<Screen>,
) -> Answer {
    if format == Format::Json {
        let all: Vec<Value> = nodes.iter().map(|stored| json::node(stored, others)).collect();
        return Answer::json(&json!({"success": true, "count": all.len(), "data": all}));
    }
    let now = clock::now().wall;
    let mut columns = vec![
        ("ID", Kind::Number),
        ("NAME", Kind::Text),
        ("ADDRESS", Kind::Text),
        ("STATE", Kind::Whole),
        ("CHECKED", Kind::Number),
        ("REASON", Kind::Whole),
        ("TITLE", Kind::Text),
    ];
    let mixed = nodes.iter().any(|it| it.node.service.kind != service::Kind::MoneroWalletRpc);
    columns.extend(mixed.then_some(("KIND", Kind::Text)));
    let shared = others.is_shared();
    columns.extend(shared.then_some(("OWNER", Kind::Text)));
    let mut table = Table::new(&columns);
    for stored in nodes {
        let view = others.node(stored);
        let told = others.told(&view);
        let cells = [
            view.node.id.to_string(),
            view.node.name.clone(),
            address(stored),
            told.state.to_string(),
            ago(view.verdict.checked_at, now),
            or_dash(told.reason.map(Reason::as_str)),
            or_dash(view.node.title.as_deref()),
        ];
        table.coloured(colour_of(told.state));
        let kind = mixed.then(|| view.node.service.kind.to_string());
        table.row(cells.into_iter().chain(kind).chain(shared.then(|| or_dash(told.owner))));
    }
    Answer::ok(table.render(screen))
}

fn address(stored: &StoredNode) -> String {
    let node = &stored.node;
    if node.host.contains(':') {
        format!("[{}]:{}", node.host, node.port)
    } else {
        format!("{}:{}", node.host, node.port)
    }
}

fn show(stored: &StoredNode, others: &Others, format: Format, width: u16) -> Answer {
    let value = json::node(stored, others);
    match format {
        Format::Json => answer(&value),
        Format::Table => Answer::ok(listing(&value, width)),
    }
}

fn answer(node: &Value) -> Answer {
    Answer::json(&json!({"success": true, "data": node}))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::args::Output;
    use super::super::exit::Exit;
    use super::super::node_options::Field;
    use super::*;
    use crate::domain::node::Password;

    fn settings(dir: &Path) -> Settings {
        let mut settings = Settings::default();
        let url = format!("sqlite://{}", dir.join("p.db").display());
        settings.database.url = Password::new(url);
        "here".clone_into(&mut settings.instance.name);
        settings
    }

    fn json_output() -> Output {
        Output { output: Format::Json }
    }

    async fn add(settings: &Settings, name: &str, options: NodeOptions) -> Answer {
        let command = NodesCommand::Add {
            name: name.to_owned(),
            port: 18082,
            options: Box::new(options),
            unavailable: false,
            output: json_output(),
        };
        run(settings, command, 80).await.unwrap()
    }

    #[tokio::test]
    async fn a_node_is_added_changed_shown_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let options = NodeOptions {
            password: Some("s3cret".into()),
            username: Some("u".into()),
            pid: Some(7),
            ..NodeOptions::default()
        };
        let added = add(&settings, "a", options).await;
        assert!(!added.text.contains("s3cret"), "{}", added.text);
        assert_eq!(added.notes.len(), 1);

        let args = SetArgs {
            node: "1".into(),
            name: Some("b".into()),
            port: None,
            options: NodeOptions { pid_file: Some("/run/b.pid".into()), ..NodeOptions::default() },
            clear: vec![Field::Password, Field::Username],
            available: false,
            unavailable: true,
            output: json_output(),
        };
        let changed = run(&settings, NodesCommand::Set(Box::new(args)), 80).await.unwrap();
        let node = serde_json::from_str::<Value>(&changed.text).unwrap()["data"].clone();
        assert_eq!((&node["name"], &node["has_password"]), (&json!("b"), &json!(false)));
        assert_eq!((&node["pid"], &node["pid_file"]), (&Value::Null, &json!("/run/b.pid")));
        assert_eq!((&node["state"], &node["port"]), (&json!("disabled"), &json!(18082)));

        let show = NodesCommand::Show { node: "b".into(), output: Output::default() };
        assert!(run(&settings, show, 80).await.unwrap().text.contains("/run/b.pid"));
        let remove = || NodesCommand::Remove { node: "b".into() };
        assert_eq!(run(&settings, remove(), 80).await.unwrap().text, "removed node 1 'b'\n");
        assert_eq!(run(&settings, remove(), 80).await.unwrap_err().exit(), Exit::CouldNotTell);
    }

    #[tokio::test]
    async fn a_node_that_cannot_be_there_makes_no_database() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let remove = NodesCommand::Remove { node: "a".into() };
        assert_eq!(run(&settings, remove, 80).await.unwrap_err().exit(), Exit::CouldNotTell);
        let args = SetArgs {
            node: "a".into(),
            name: Some("b".into()),
            port: None,
            options: NodeOptions::default(),
            clear: Vec::new(),
            available: false,
            unavailable: false,
            output: json_output(),
        };
        let set = NodesCommand::Set(Box::new(args));
        assert_eq!(run(&settings, set, 80).await.unwrap_err().exit(), Exit::CouldNotTell);
        assert!(!dir.path().join("p.db").exists());
    }

    #[tokio::test]
    async fn bad_values_and_taken_names_are_usage() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        add(&settings, "a", NodeOptions::default()).await;
        for name in ["a", "42", "status"] {
            let command = NodesCommand::Add {
                name: name.to_owned(),
                port: 1,
                options: Box::default(),
                unavailable: false,
                output: Output::default(),
            };
            let error = run(&settings, command, 80).await.unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{name}");
        }
    }

    #[tokio::test]
    async fn hostile_titles_stay_inside_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let title = Some("я".repeat(255));
        add(&settings, &"n".repeat(128), NodeOptions { title, ..NodeOptions::default() }).await;
        let list = run(&settings, NodesCommand::List(Output::default()), 80).await.unwrap();
        assert!(list.text.lines().all(|line| line.chars().count() <= 80), "{}", list.text);
    }

    #[tokio::test]
    async fn a_shared_database_says_who_answers() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        for name in ["mine", "far", "lost", "released"] {
            add(&settings, name, NodeOptions::default()).await;
        }
        let (monitor, alone) = opened(&settings, Open::Existing).await.unwrap();
        let mut nodes = monitor.registry().list().await.unwrap();
        for (stored, owner) in nodes.iter_mut().zip([Some("here"), Some("b"), Some("c"), None]) {
            stored.verdict.state = crate::domain::verdict::State::Up;
            stored.node.placement = Some("any".to_owned());
            stored.owner = owner.map(str::to_owned);
        }
        assert!(!list(&nodes, &alone, Format::Table, 120).text.contains("OWNER"));
        let others = Others::of("here", &["b"]);
        let table = list(&nodes, &others, Format::Table, 120).text;
        let ends: Vec<_> =
            table.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(ends, ["OWNER", "here", "b", "c", "-"], "{table}");
        let body: Value =
            serde_json::from_str(&list(&nodes, &others, Format::Json, 80).text).unwrap();
        let told = |key: &str| -> Vec<Value> {
            body["data"].as_array().unwrap().iter().map(|it| it[key].clone()).collect()
        };
        assert_eq!(told("owner"), [json!("here"), json!("b"), json!("c"), json!(null)]);
        assert_eq!(told("state"), ["up", "up", "unknown", "unknown"]);
        assert_eq!(told("reason"), [json!(null), json!(null), json!("instance_lost"), json!(null)]);
    }
}
