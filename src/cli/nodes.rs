//! `nodes`: the registry. A server that runs notices each change within a second.

use std::io::Read;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::args::Output;
use super::exit::CliError;
use super::json;
use super::output::{Answer, Format, ago, or_dash, printable};
use super::table::{Kind, Table, listing};
use crate::clock;
use crate::config::Settings;
use crate::domain::node::{Password, Tls};
use crate::domain::observation::Reason;
use crate::monitor::Monitor;
use crate::registry::NodePatch;
use crate::store::{Open, StoredNode};

/// Longest password that is read; the registry takes 255 characters.
const PASSWORD_LIMIT: u64 = 4096;

/// `nodes`.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// Every node with its recorded verdict.
    List(Output),
    /// One node with everything but its password.
    Show {
        /// Its name or id.
        #[arg(value_name = "NODE")]
        node: String,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// Add a node; the database is made if there is none.
    Add {
        /// 1 to 128 characters, unique, not all digits.
        #[arg(value_name = "NAME")]
        name: String,
        /// TCP port of its RPC server.
        #[arg(long)]
        port: u16,
        /// What it is.
        #[command(flatten)]
        options: NodeOptions,
        /// Neither check it nor count it.
        #[arg(long)]
        unavailable: bool,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// Change a node; what is not given stays.
    Set(Box<SetArgs>),
    /// Remove a node; its id is not used again.
    Remove {
        /// Its name or id.
        #[arg(value_name = "NODE")]
        node: String,
    },
}

/// `nodes set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Its name or id.
    #[arg(value_name = "NODE")]
    node: String,
    /// A new name.
    #[arg(long)]
    name: Option<String>,
    /// TCP port of its RPC server.
    #[arg(long)]
    port: Option<u16>,
    /// What it is.
    #[command(flatten)]
    options: NodeOptions,
    /// Forget this; may be given several times.
    #[arg(long, value_enum, value_name = "FIELD")]
    clear: Vec<Field>,
    /// Check it and count it.
    #[arg(long, conflicts_with = "unavailable")]
    available: bool,
    /// Neither check it nor count it.
    #[arg(long)]
    unavailable: bool,
    /// How it is shown.
    #[command(flatten)]
    output: Output,
}

/// What a node is, as far as it was given.
#[derive(Debug, Default, Args)]
pub struct NodeOptions {
    /// Host name or address [default for a new node: 127.0.0.1].
    #[arg(long)]
    pub host: Option<String>,
    /// off, verify, or insecure (any certificate) [default for a new node: off].
    #[arg(long)]
    pub tls: Option<Tls>,
    /// User of --rpc-login.
    #[arg(long)]
    pub username: Option<String>,
    /// Password of --rpc-login; other users can see it in the process list.
    #[arg(long)]
    pub password: Option<String>,
    /// Read the password from standard input, one line.
    #[arg(long, conflicts_with = "password")]
    pub password_stdin: bool,
    /// Address of the daemon it uses; shown only.
    #[arg(long)]
    pub daemon: Option<String>,
    /// Its PID; without one and without a file, the process that owns the port.
    #[arg(long)]
    pub pid: Option<i64>,
    /// A file with its PID.
    #[arg(long, conflicts_with = "pid", value_name = "FILE")]
    pub pid_file: Option<String>,
    /// File name of its executable [default for a new node: monero-wallet-rpc].
    #[arg(long, value_name = "NAME")]
    pub process_name: Option<String>,
    /// What people call it.
    #[arg(long)]
    pub title: Option<String>,
}

/// What `--clear` forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[allow(missing_docs)] // Each is the field of that name.
pub enum Field {
    Title,
    Username,
    Password,
    Daemon,
    Pid,
    PidFile,
}

impl NodeOptions {
    /// As a change of the registry; the password comes from `stdin` if that was asked for.
    fn into_patch(self, stdin: impl Read) -> Result<NodePatch, CliError> {
        let password =
            if self.password_stdin { Some(read_password(stdin)?) } else { self.password };
        Ok(NodePatch {
            host: self.host,
            tls: self.tls,
            username: self.username.map(Some),
            password: password.map(|clear| Some(Password::new(clear))),
            daemon: self.daemon.map(Some),
            // One of the two means that the other is not used.
            pid: self.pid.map(Some).or_else(|| self.pid_file.is_some().then_some(None)),
            pid_file: self.pid_file.map(Some).or_else(|| self.pid.is_some().then_some(None)),
            process_name: self.process_name,
            title: self.title.map(Some),
            ..NodePatch::default()
        })
    }
}

fn read_password(input: impl Read) -> Result<String, CliError> {
    let mut text = String::new();
    input
        .take(PASSWORD_LIMIT)
        .read_to_string(&mut text)
        .map_err(|source| CliError::Io { what: "standard input cannot be read", source })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CliError::Usage("--password-stdin: standard input is empty".to_owned()));
    }
    Ok(line.to_owned())
}

fn clear(patch: &mut NodePatch, field: Field) -> Result<(), CliError> {
    let given = match field {
        Field::Title => patch.title.replace(None).flatten().is_some(),
        Field::Username => patch.username.replace(None).flatten().is_some(),
        Field::Password => patch.password.replace(None).flatten().is_some(),
        Field::Daemon => patch.daemon.replace(None).flatten().is_some(),
        Field::Pid => patch.pid.replace(None).flatten().is_some(),
        Field::PidFile => patch.pid_file.replace(None).flatten().is_some(),
    };
    if given {
        let text = "--clear and a value are given for the same field".to_owned();
        return Err(CliError::Usage(text));
    }
    Ok(())
}

pub(super) async fn run(
    settings: &Settings,
    command: NodesCommand,
    width: u16,
) -> Result<Answer, CliError> {
    match command {
        NodesCommand::List(output) => {
            let monitor = Monitor::open(settings, Open::Existing).await?;
            Ok(list(&monitor.registry().list().await?, output.output, width))
        }
        NodesCommand::Show { node, output } => {
            let monitor = Monitor::open(settings, Open::Existing).await?;
            Ok(show(&monitor.registry().get(&node).await?, output.output, width))
        }
        NodesCommand::Add { name, port, options, unavailable, output } => {
            let hint = visible(&options);
            let mut patch = options.into_patch(std::io::stdin().lock())?;
            patch.name = Some(name);
            patch.port = Some(port);
            patch.available = unavailable.then_some(false);
            let monitor = Monitor::open(settings, Open::Create).await?;
            let made = monitor.registry().create(patch).await?;
            Ok(changed("added", &made, output.output, hint))
        }
        NodesCommand::Set(args) => set(settings, *args).await,
        NodesCommand::Remove { node } => {
            let monitor = Monitor::open(settings, Open::Create).await?;
            let gone = monitor.registry().delete(&node).await?;
            Ok(changed("removed", &gone, Format::Table, None))
        }
    }
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
    let monitor = Monitor::open(settings, Open::Create).await?;
    let node = monitor.registry().update(&args.node, patch).await?;
    Ok(changed("changed", &node, args.output.output, hint))
}

fn visible(options: &NodeOptions) -> Option<&'static str> {
    options.password.is_some().then_some(
        "a password on the command line can be seen by other users (ps): prefer --password-stdin",
    )
}

fn changed(what: &str, stored: &StoredNode, format: Format, hint: Option<&str>) -> Answer {
    let answer = match format {
        Format::Json => answer(&json::node(stored)),
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

fn list(nodes: &[StoredNode], format: Format, width: u16) -> Answer {
    if format == Format::Json {
        let all: Vec<Value> = nodes.iter().map(json::node).collect();
        return Answer::json(&json!({"success": true, "count": all.len(), "data": all}));
    }
    let now = clock::now().wall;
    let mut table = Table::new(&[
        ("ID", Kind::Number),
        ("NAME", Kind::Text),
        ("ADDRESS", Kind::Text),
        ("STATE", Kind::Whole),
        ("CHECKED", Kind::Number),
        ("REASON", Kind::Whole),
        ("TITLE", Kind::Text),
    ]);
    for stored in nodes {
        let node = &stored.node;
        table.row([
            node.id.to_string(),
            node.name.clone(),
            address(stored),
            json::recorded_state(stored).to_string(),
            ago(stored.verdict.checked_at, now),
            or_dash(stored.verdict.reason.map(Reason::as_str)),
            or_dash(node.title.as_deref()),
        ]);
    }
    Answer::ok(table.render(width))
}

fn address(stored: &StoredNode) -> String {
    let node = &stored.node;
    if node.host.contains(':') {
        format!("[{}]:{}", node.host, node.port)
    } else {
        format!("{}:{}", node.host, node.port)
    }
}

fn show(stored: &StoredNode, format: Format, width: u16) -> Answer {
    let value = json::node(stored);
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

    use super::super::exit::Exit;
    use super::*;

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
            options,
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
    async fn bad_values_and_taken_names_are_usage() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        add(&settings, "a", NodeOptions::default()).await;
        for name in ["a", "42", "status"] {
            let command = NodesCommand::Add {
                name: name.to_owned(),
                port: 1,
                options: NodeOptions::default(),
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

    #[test]
    fn a_password_is_one_line_of_standard_input() {
        assert_eq!(read_password("s3 cret\r\nmore".as_bytes()).unwrap(), "s3 cret");
        assert_eq!(read_password("".as_bytes()).unwrap_err().exit(), Exit::Usage);
        assert_eq!(read_password("\n".as_bytes()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_field_is_not_set_and_cleared_at_once() {
        let mut patch = NodePatch { title: Some(Some("t".into())), ..NodePatch::default() };
        assert_eq!(clear(&mut patch, Field::Title).unwrap_err().exit(), Exit::Usage);
        clear(&mut patch, Field::Daemon).unwrap();
        assert_eq!(patch.daemon, Some(None));
    }
}
