//! The options of `nodes`: what a node is, as the command line says it. Help texts are the doc comments here.

// Backticks would stand in the help as they are.
#![allow(clippy::doc_markdown)]

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::args::Output;
use super::exit::CliError;
use crate::config::TableName;
use crate::domain::Timestamp;
use crate::domain::node::{Password, Tls};
use crate::domain::service::Kind;
use crate::registry::NodePatch;

/// Longest line that is read; the registry takes passwords of 255 characters.
const LINE_LIMIT: u64 = 4096;

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
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// What it is.
        #[command(flatten)]
        options: Box<NodeOptions>,
        /// Neither check it nor count it.
        #[arg(long)]
        unavailable: bool,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// Change a node; what is not given stays.
    Set(Box<SetArgs>),
    /// Find each monero-wallet-rpc and monerod that runs on this host; what cannot be read of it is said.
    Discover {
        /// Register those that are new; the database is made if there is none.
        #[arg(long)]
        add: bool,
        /// How they are shown.
        #[command(flatten)]
        output: Output,
    },
    /// Print every node as JSON, for `nodes import`; without passwords.
    Export {
        /// With their passwords.
        #[arg(long)]
        secrets: bool,
    },
    /// Take over nodes from a file, or once from another program: all or none. A name that is there already is left alone.
    Import(ImportArgs),
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
    pub node: String,
    /// A new name.
    #[arg(long)]
    pub name: Option<String>,
    /// TCP port of its RPC server.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// What it is.
    #[command(flatten)]
    pub options: NodeOptions,
    /// Forget this; may be given several times.
    #[arg(long, value_enum, value_name = "FIELD")]
    pub clear: Vec<Field>,
    /// Check it and count it.
    #[arg(long, conflicts_with = "unavailable")]
    pub available: bool,
    /// Neither check it nor count it.
    #[arg(long)]
    pub unavailable: bool,
    /// How it is shown.
    #[command(flatten)]
    pub output: Output,
}

/// `nodes import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What `nodes export` printed; - is standard input.
    #[arg(value_name = "FILE", required_unless_present = "from")]
    pub file: Option<PathBuf>,
    /// A name that is there already is changed as the file says; what the file does not say of it stays.
    #[arg(long, conflicts_with = "from")]
    pub update: bool,
    /// Instead of a file: whose nodes. laravel opens their passwords with adopt.laravel_key.
    #[arg(long, value_enum, conflicts_with = "file")]
    pub from: Option<From>,
    /// The database they are in [default: database.url]; with - it is read from standard input, where other users do not
    /// see the password in it.
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub source: Option<String>,
    /// Their table, or schema.table [default: adopt.nodes, else monero_nodes].
    #[arg(long, value_name = "TABLE", value_parser = table, conflicts_with = "file")]
    pub table: Option<TableName>,
    /// Write nothing; show what would be.
    #[arg(long)]
    pub dry_run: bool,
    /// How it is shown.
    #[command(flatten)]
    pub output: Output,
}

/// Whose nodes are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// The Laravel module's.
    Laravel,
}

fn table(text: &str) -> Result<TableName, String> {
    let (schema, table) = match text.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, text),
    };
    let is_name = |name: &str| {
        (1..=64).contains(&name.chars().count())
            && !name.chars().any(|c| c.is_control() || ".`\"'".contains(c))
    };
    if is_name(table) && schema.is_none_or(is_name) {
        Ok(TableName { schema: schema.map(str::to_owned), table: table.to_owned() })
    } else {
        Err("must be a table, or schema.table".to_owned())
    }
}

/// What a node is, as far as it was given.
#[derive(Debug, Default, Args)]
pub struct NodeOptions {
    /// Host name or address [default for a new node: 127.0.0.1].
    #[arg(long)]
    pub host: Option<String>,
    /// monero-wallet-rpc, monerod, json-rpc (any other) or http (a GET) [default for a new node: monero-wallet-rpc].
    #[arg(long)]
    pub kind: Option<Kind>,
    /// The method that is called (json-rpc).
    #[arg(long, value_name = "METHOD")]
    pub rpc_method: Option<String>,
    /// Where it is asked (json-rpc, http) [default: /json_rpc, /].
    #[arg(long)]
    pub path: Option<String>,
    /// The statuses that are right, such as 200 or 200-299,401 (http) [default: 200-299].
    #[arg(long, value_name = "CODES")]
    pub expect_status: Option<String>,
    /// A JSON pointer to what must be in the answer, such as /status (json-rpc, http).
    #[arg(long, value_name = "POINTER")]
    pub expect_field: Option<String>,
    /// What must stand there.
    #[arg(long, value_name = "VALUE")]
    pub expect_value: Option<String>,
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
    /// File name of its executable [default for a new node: that of its kind; any for json-rpc and http].
    #[arg(long, value_name = "NAME")]
    pub process_name: Option<String>,
    /// The instance that answers for it, or any.
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Until then it makes no alerts, such as 2030-01-31T18:00:00Z; it is checked as ever.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub maintenance_until: Option<Timestamp>,
    /// What people call it.
    #[arg(long)]
    pub title: Option<String>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "must be a time such as 2030-01-31T18:00:00Z".to_owned())
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
    ProcessName,
    Instance,
    RpcMethod,
    Path,
    ExpectStatus,
    ExpectField,
    ExpectValue,
    MaintenanceUntil,
}

impl NodeOptions {
    /// As a change of the registry; the password comes from `stdin` if that was asked for.
    pub(super) fn into_patch(self, stdin: impl Read) -> Result<NodePatch, CliError> {
        let password = if self.password_stdin {
            Some(read_line("--password-stdin", stdin)?)
        } else {
            self.password
        };
        Ok(NodePatch {
            host: self.host,
            kind: self.kind,
            rpc_method: self.rpc_method.map(Some),
            path: self.path.map(Some),
            expect_status: self.expect_status.map(Some),
            expect_field: self.expect_field.map(Some),
            expect_value: self.expect_value.map(Some),
            tls: self.tls,
            username: self.username.map(Some),
            password: password.map(|text| Some(Password::given(text))),
            daemon: self.daemon.map(Some),
            // One of the two means that the other is not used.
            pid: self.pid.map(Some).or_else(|| self.pid_file.is_some().then_some(None)),
            pid_file: self.pid_file.map(Some).or_else(|| self.pid.is_some().then_some(None)),
            process_name: self.process_name,
            instance: self.instance.map(Some),
            maintenance_until: self.maintenance_until.map(Some),
            title: self.title.map(Some),
            ..NodePatch::default()
        })
    }
}

/// The first line of standard input, for what other users must not see in the process list.
pub(super) fn read_line(option: &str, input: impl Read) -> Result<String, CliError> {
    let mut text = String::new();
    input
        .take(LINE_LIMIT)
        .read_to_string(&mut text)
        .map_err(|source| CliError::Io { what: "standard input cannot be read", source })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CliError::Usage(format!("{option}: standard input is empty")));
    }
    Ok(line.to_owned())
}

pub(super) fn clear(patch: &mut NodePatch, field: Field) -> Result<(), CliError> {
    let given = match field {
        Field::Title => patch.title.replace(None).flatten().is_some(),
        Field::Username => patch.username.replace(None).flatten().is_some(),
        Field::Password => patch.password.replace(None).flatten().is_some(),
        Field::Daemon => patch.daemon.replace(None).flatten().is_some(),
        Field::Pid => patch.pid.replace(None).flatten().is_some(),
        Field::PidFile => patch.pid_file.replace(None).flatten().is_some(),
        // Any program, as null is.
        Field::ProcessName => patch.process_name.replace(String::new()).is_some(),
        Field::Instance => patch.instance.replace(None).flatten().is_some(),
        Field::RpcMethod => patch.rpc_method.replace(None).flatten().is_some(),
        Field::Path => patch.path.replace(None).flatten().is_some(),
        Field::ExpectStatus => patch.expect_status.replace(None).flatten().is_some(),
        Field::ExpectField => patch.expect_field.replace(None).flatten().is_some(),
        Field::ExpectValue => patch.expect_value.replace(None).flatten().is_some(),
        Field::MaintenanceUntil => patch.maintenance_until.replace(None).flatten().is_some(),
    };
    if given {
        let text = "--clear and a value are given for the same field".to_owned();
        return Err(CliError::Usage(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn a_password_is_one_line_of_standard_input() {
        assert_eq!(read_line("--password-stdin", "s3 cret\r\nmore".as_bytes()).unwrap(), "s3 cret");
        assert_eq!(read_line("--password-stdin", "".as_bytes()).unwrap_err().exit(), Exit::Usage);
        assert_eq!(read_line("--password-stdin", "\n".as_bytes()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn what_was_given_is_a_change_and_nothing_else() {
        let options = NodeOptions { instance: Some("any".into()), ..NodeOptions::default() };
        let expected = NodePatch { instance: Some(Some("any".into())), ..NodePatch::default() };
        assert_eq!(options.into_patch(std::io::empty()).unwrap(), expected);
        let none = NodeOptions::default().into_patch(std::io::empty()).unwrap();
        assert_eq!(none, NodePatch::default());
    }

    #[test]
    fn a_field_is_not_set_and_cleared_at_once() {
        let mut patch = NodePatch { title: Some(Some("t".into())), ..NodePatch::default() };
        assert_eq!(clear(&mut patch, Field::Title).unwrap_err().exit(), Exit::Usage);
        clear(&mut patch, Field::Daemon).unwrap();
        clear(&mut patch, Field::Instance).unwrap();
        assert_eq!((patch.daemon, patch.instance), (Some(None), Some(None)));
    }
}
