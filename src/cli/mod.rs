//! The command line: `serve`, and what operators and scripts ask without a server.
//!
//! It reads the registry and the records straight from the database and checks nodes with a checker of
//! its own; it writes verdicts only with `status --save`, and not while a server runs.

mod adopt;
mod alerts;
mod args;
mod completions;
mod config;
mod exit;
mod health;
mod history;
mod instances;
mod json;
mod migrate;
mod migrations;
mod nagios;
mod node_discover;
mod node_file;
mod node_import;
mod node_options;
mod nodes;
mod others;
mod output;
mod progress;
mod screen;
mod serve;
mod status;
mod status_table;
mod stop;
mod table;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use crate::config::{Loaded, Log, LogFormat, Overrides, Settings, load};
use crate::telemetry::{self, Telemetry};

use screen::Screen;

pub use args::{
    AdoptCommand, AlertsCommand, Cli, Command, Global, HistoryCommand, InstancesArgs,
    InstancesCommand, MigrationsCommand, Output, PageArgs, ServeArgs, Shell, StatusArgs, parse,
};
pub use exit::{CliError, Exit};
pub use nagios::failed as nagios_failure;
pub use node_options::{Field, From, ImportArgs, NodeOptions, NodesCommand, SetArgs};
pub use output::{Answer, Format, complain};

/// What commands but the server log, unless `--log-level` says otherwise: only what went wrong.
const QUIET: &str = "warn";

/// A command with the settings it needs, read.
#[derive(Debug)]
pub struct Prepared {
    command: Command,
    overrides: Overrides,
    loaded: Loaded,
}

impl Cli {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`CliError::Config`] with every fault.
    pub fn prepare(self) -> Result<Prepared, CliError> {
        let command = self.command.unwrap_or(Command::Serve(ServeArgs::default()));
        let mut overrides =
            Overrides::from_process(self.global.config.clone(), self.global.flags())?;
        if !needs_name(&command) {
            overrides.container = None;
        }
        let loaded = if needs_settings(&command) {
            load(&overrides)?
        } else {
            Loaded { settings: Settings::default(), warnings: Vec::new(), origins: BTreeMap::new() }
        };
        Ok(Prepared { command, overrides, loaded })
    }
}

/// These answer whatever the configuration is.
const fn needs_settings(command: &Command) -> bool {
    !matches!(
        command,
        Command::Openapi
            | Command::Completions { .. }
            | Command::Stop { .. }
            | Command::Health { url: Some(_) }
    )
}

/// These do nothing in an instance's name, so in a container they need none.
const fn needs_name(command: &Command) -> bool {
    !matches!(
        command,
        Command::Migrate { .. }
            | Command::History(_)
            | Command::Instances(_)
            | Command::Adopt(_)
            | Command::Alerts(_)
            | Command::Health { .. }
    )
}

impl Prepared {
    /// Starts logging: the server's as configured, a command's to standard error.
    ///
    /// # Errors
    /// [`CliError::Log`].
    pub fn start_telemetry(&self) -> Result<Telemetry, CliError> {
        let configured = &self.loaded.settings.log;
        let log = if matches!(self.command, Command::Serve(_)) {
            configured.clone()
        } else {
            let asked = self.overrides.flags.iter().rfind(|(key, _)| key == "log.level");
            let level = asked.map_or(QUIET, |(_, level)| level);
            Log { format: LogFormat::Text, file: None, level: level.to_owned() }
        };
        let colours = self.overrides.colours_wanted() && std::io::stderr().is_terminal();
        Ok(telemetry::start(&log, colours)?)
    }

    /// Carries the command out.
    ///
    /// # Errors
    /// [`CliError`]; its exit code says which kind.
    pub async fn run(self, telemetry: Telemetry) -> Result<Answer, CliError> {
        let settings = self.loaded.settings.clone();
        let screen = Screen::of_stdout(self.overrides.colours_wanted());
        let width = screen.width;
        match self.command {
            Command::Serve(args) => serve::run(self.loaded, self.overrides, telemetry, args).await,
            Command::Stop { pid_file } => stop::run(&pid_file).await,
            Command::Status(args) => status::run(&settings, &args, screen).await,
            Command::Nodes(command) => nodes::run(&settings, command, screen).await,
            Command::Migrations(command) => migrations::run(&settings, command, screen).await,
            Command::History(command) => history::run(&settings, command, width).await,
            Command::Instances(args) => instances::run(&settings, args, screen).await,
            Command::Alerts(command) => alerts::run(&settings, &command).await,
            Command::Adopt(command) => adopt::run(&settings, command, width).await,
            Command::Migrate { status: true, .. } => migrate::status(&settings, width).await,
            Command::Migrate { verify: true, .. } => migrate::verify(&settings).await,
            Command::Migrate { .. } => migrate::run(&settings).await,
            Command::Completions { shell } => Ok(completions::run(shell)),
            Command::Openapi => Ok(Answer::ok(crate::http::OPENAPI.to_owned())),
            Command::CheckConfig => Ok(config::run(&self.loaded)),
            Command::Health { url } => health::run(&settings, url.as_deref()).await,
        }
    }
}
