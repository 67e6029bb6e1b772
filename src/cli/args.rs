//! The command line: what can be asked for. Help texts are the doc comments here.

// Backticks would stand in the help as they are.
#![allow(clippy::doc_markdown)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit::Exit;
use super::node_options::NodesCommand;
use super::output::Format;
use crate::domain::Method;
use crate::domain::migration::{State, Status};

/// Keeps what a database says about processes in agreement with the processes themselves.
#[derive(Debug, Parser)]
#[command(
    name = "procwarden",
    version,
    after_help = "Exit codes: 0 all works, 1 some are down, 2 could not tell, 64 usage, \
                  69 database unavailable,\n75 held by another process, 78 configuration.",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// `serve` where there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that stand before or after the command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// The configuration; else ./procwarden.toml, else /etc/procwarden/procwarden.toml.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Where HTTP is served (server.listen).
    #[arg(long, global = true, value_name = "ADDRESS", help_heading = "Configuration")]
    pub listen: Option<String>,
    /// The database: sqlite://PATH, or postgres:// or mysql://USER:PASSWORD@HOST/DATABASE (database.url).
    #[arg(long, global = true, value_name = "URL", help_heading = "Configuration")]
    pub database_url: Option<String>,
    /// Wait so long for a database that does not answer yet, such as 60s (database.wait).
    #[arg(long, global = true, value_name = "DURATION", help_heading = "Configuration")]
    pub wait_for_database: Option<String>,
    /// The directory of the lock files (migrations.lock_dir).
    #[arg(long, global = true, value_name = "DIR", help_heading = "Configuration")]
    pub lock_dir: Option<String>,
    /// off, error, warn, info, debug, trace, or a filter (log.level).
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Configuration")]
    pub log_level: Option<String>,
}

impl Cli {
    /// Is the answer for Nagios, whatever comes of it?
    #[must_use]
    pub const fn is_for_nagios(&self) -> bool {
        matches!(self.command, Some(Command::Status(StatusArgs { nagios: true, .. })))
    }
}

impl Global {
    /// As dotted keys, for the configuration.
    #[must_use]
    pub fn flags(&self) -> Vec<(String, String)> {
        [
            ("server.listen", &self.listen),
            ("database.url", &self.database_url),
            ("database.wait", &self.wait_for_database),
            ("migrations.lock_dir", &self.lock_dir),
            ("log.level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect()
    }
}

/// How the answer is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Output {
    /// A table for people, or JSON in the shapes of the HTTP answers.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server and the background tasks (the default).
    Serve(ServeArgs),
    /// End the server that wrote a PID file, and wait for its end.
    Stop {
        /// What serve --pid-file was given.
        #[arg(long, value_name = "FILE")]
        pid_file: PathBuf,
    },
    /// Check nodes now.
    Status(StatusArgs),
    /// The registry of nodes.
    #[command(subcommand)]
    Nodes(NodesCommand),
    /// The recorded migrations, and what the monitor would do about their locks.
    #[command(subcommand)]
    Migrations(MigrationsCommand),
    /// What became of a node or a migration.
    #[command(subcommand)]
    History(HistoryCommand),
    /// The instances that use this database, by their heartbeats.
    Instances(InstancesArgs),
    /// Tries who is told when something dies.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// What living beside the earlier monitor has shown.
    #[command(subcommand)]
    Adopt(AdoptCommand),
    /// Bring the schema of the database up to date.
    Migrate {
        /// Change nothing: list the steps (exit 2 if some are missing).
        #[arg(long)]
        status: bool,
        /// Change nothing: let the server prepare every statement that procwarden uses.
        #[arg(long, conflicts_with = "status")]
        verify: bool,
    },
    /// Print the description of the HTTP interface.
    Openapi,
    /// Print what a shell needs to complete this command line, such as: source <(procwarden completions bash).
    Completions {
        /// Which shell.
        #[arg(value_enum, value_name = "SHELL")]
        shell: Shell,
    },
    /// Show every fault of the configuration, or the settings in force with their sources.
    CheckConfig,
    /// Ask a running instance: exit 0 for 200, 1 for another answer, 2 for none.
    Health {
        /// The address to ask, http:// only [default: /health of server.listen].
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
}

/// `serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Write the PID there while it runs; a second start with the same file is refused (exit 75).
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
}

/// Shells that complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // Each is the shell of that name.
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `status`.
#[derive(Debug, Default, Args)]
pub struct StatusArgs {
    /// Names or ids; without any, every available node.
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Every available node; the same as none named.
    #[arg(long, conflicts_with = "nodes")]
    pub all: bool,
    /// pid, port, api or full [default: full for one NODE, else nodes.method].
    #[arg(long)]
    pub method: Option<Method>,
    /// Record the verdicts as the server would; refused while one runs.
    #[arg(long)]
    pub save: bool,
    /// One line and an exit code as of a Nagios plugin: 0 OK, 1 WARNING (some are down, and health.min_working is met),
    /// 2 CRITICAL, 3 UNKNOWN.
    #[arg(long, conflicts_with = "output")]
    pub nagios: bool,
    /// How it is shown.
    #[command(flatten)]
    pub output: Output,
}

/// `instances`.
#[derive(Debug, Default, Args)]
pub struct InstancesArgs {
    /// They are listed where there is none.
    #[command(subcommand)]
    pub command: Option<InstancesCommand>,
    /// How they are listed.
    #[command(flatten)]
    pub output: Output,
}

/// `instances` otherwise than as a list.
#[derive(Debug, Subcommand)]
pub enum InstancesCommand {
    /// Forget an instance that is lost; others take its nodes, as far as they can reach them.
    Forget {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: String,
        /// Give what belongs to it to this one instead, what has a PID or a loopback address too.
        #[arg(long, value_name = "NAME")]
        move_to: Option<String>,
    },
}

/// `history`.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// The turns of a node, newest first, and how long it was up.
    Node {
        /// Its name or id.
        #[arg(value_name = "NODE")]
        node: String,
        /// Which of them.
        #[command(flatten)]
        page: PageArgs,
    },
    /// The turns of a migration, newest first.
    Migration {
        /// brz_project_id; with several uuids the newest.
        #[arg(value_name = "ID")]
        id: i64,
        /// Which of them.
        #[command(flatten)]
        page: PageArgs,
    },
}

/// A page of a history.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// At most so many.
    #[arg(long, value_name = "COUNT", default_value_t = crate::history::PAGE)]
    pub limit: i64,
    /// The next page: what the one before named.
    #[arg(long, value_name = "PLACE")]
    pub before: Option<String>,
    /// How it is shown.
    #[command(flatten)]
    pub output: Output,
}

/// `adopt`.
#[derive(Debug, Subcommand)]
pub enum AdoptCommand {
    /// Where the adopted tables and locks differ from what procwarden judges, by which rule, and what is to be mended
    /// (exit 1 if there is anything now).
    Report {
        /// Only what is so now, without what has happened in the last 30 days.
        #[arg(long)]
        open: bool,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
}

/// `alerts`.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Send one test message through each configured channel now, and say what came of it (exit 1 if one failed).
    Test {
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
}

/// `migrations`.
#[derive(Debug, Subcommand)]
pub enum MigrationsCommand {
    /// The rows, as recorded.
    List {
        /// Only those with this status; `success` also finds `completed`.
        #[arg(long, value_parser = status)]
        status: Option<Status>,
        /// Only those in this state.
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// One row with everything in it.
    Show {
        /// brz_project_id; with several uuids the newest.
        #[arg(value_name = "ID")]
        id: i64,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
    /// Explain what the monitor would do about each lock, condition by condition. Writes nothing. Where a process is
    /// dead it looks a second time after migrations.settle (5 s), as the monitor does.
    Check {
        /// Only this brz_project_id.
        #[arg(value_name = "ID")]
        id: Option<i64>,
        /// Required: this command explains, the server acts.
        #[arg(long)]
        dry_run: bool,
        /// How it is shown.
        #[command(flatten)]
        output: Output,
    },
}

fn status(word: &str) -> Result<Status, String> {
    Status::parse(word).ok_or_else(|| words(Status::ALL.iter().map(|it| it.as_str())))
}

fn state(word: &str) -> Result<State, String> {
    State::parse(word).ok_or_else(|| words(State::ALL.iter().map(|it| it.as_str())))
}

fn words<'a>(allowed: impl Iterator<Item = &'a str>) -> String {
    format!("allowed are {}", allowed.collect::<Vec<_>>().join(", "))
}

/// Reads the command line. Where it cannot be read, or help was asked for, that has been said.
///
/// # Errors
/// How the program ends then: 0 after `--help` and `-V`, 64 otherwise.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    Cli::try_parse_from(args).map_err(|error| {
        // Output that nobody reads any more is no reason for another code.
        let _ = error.print();
        exit_of(&error)
    })
}

fn exit_of(error: &clap::Error) -> Exit {
    if error.use_stderr() { Exit::Usage } else { Exit::Ok }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Result<Cli, Exit> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| exit_of(&error))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_serve_and_takes_the_flags() {
        let cli = read("procwarden --listen 127.0.0.1:1 --lock-dir /locks").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(
            cli.global.flags(),
            [
                ("server.listen".to_owned(), "127.0.0.1:1".to_owned()),
                ("migrations.lock_dir".to_owned(), "/locks".to_owned())
            ]
        );
    }

    #[test]
    fn flags_may_stand_after_the_command() {
        let line = "procwarden status main 7 --method pid --output json --config a.toml --wait-for-database 60s";
        let cli = read(line).unwrap();
        assert_eq!(cli.global.flags(), [("database.wait".to_owned(), "60s".to_owned())]);
        assert_eq!(cli.global.config, Some(PathBuf::from("a.toml")));
        let Some(Command::Status(status)) = cli.command else { panic!("not status") };
        assert_eq!(status.nodes, ["main", "7"]);
        assert_eq!((status.method, status.output.output), (Some(Method::Pid), Format::Json));
        assert!(!status.save);
    }

    #[test]
    fn what_cannot_be_read_is_usage_and_help_is_not() {
        for bad in [
            "procwarden frobnicate",
            "procwarden status --method ping",
            "procwarden status --output xml",
            "procwarden migrations list --status done",
            "procwarden migrations show abc",
            "procwarden nodes add",
            "procwarden nodes add a --port 70000",
            "procwarden nodes set a --available --unavailable",
            "procwarden nodes set a --clear port",
            "procwarden nodes add a --port 1 --instance",
            "procwarden serve --wait-for-database",
            "procwarden nodes add a --port 1 --password x --password-stdin",
            "procwarden nodes",
            "procwarden nodes import",
            "procwarden nodes import --from elsewhere",
            "procwarden nodes import --from laravel --table a.b.c",
            "procwarden instances forget",
            "procwarden instances forget a --move-to",
            "procwarden instances nonsense",
            "procwarden alerts",
            "procwarden alerts nonsense",
            "procwarden nodes set a --maintenance-until tomorrow",
        ] {
            assert_eq!(read(bad).unwrap_err(), Exit::Usage, "{bad}");
        }
        for good in ["procwarden --help", "procwarden -V", "procwarden status --help"] {
            assert_eq!(read(good).unwrap_err(), Exit::Ok, "{good}");
        }
    }
}
