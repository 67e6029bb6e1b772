//! `serve`: the server, until a signal or a failure ends it.

use super::exit::CliError;
use super::output::Answer;
use crate::app::{App, Reread};
use crate::config::{Loaded, Overrides, reread_nodes};
use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;

pub(super) async fn run(
    loaded: Loaded,
    overrides: Overrides,
    telemetry: Telemetry,
) -> Result<Answer, CliError> {
    // First of all: SIGHUP kills a process that has no handler for it.
    let shutdown = Shutdown::by_signals()
        .map_err(|source| CliError::Io { what: "signals cannot be handled", source })?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let reread: Reread = Box::new(move || {
        telemetry.reopen().map_err(|error| error.to_string())?;
        reread_nodes(&overrides).map_err(|faults| faults.to_string())
    });
    let app = App::build(loaded.settings).await?;
    app.run(shutdown, reread).await?;
    Ok(Answer::ok(""))
}
