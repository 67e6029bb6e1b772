//! `serve`: the server, until a signal or a failure ends it.

use super::args::ServeArgs;
use super::exit::CliError;
use super::output::Answer;
use crate::app::App;
use crate::config::{Loaded, Overrides, reread_nodes};
use crate::pid_file::PidFile;
use crate::process::Processes;
use crate::service_manager::ServiceManager;
use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;

pub(super) async fn run(
    loaded: Loaded,
    overrides: Overrides,
    telemetry: Telemetry,
    args: ServeArgs,
) -> Result<Answer, CliError> {
    // Before anything is bound: a SIGHUP that comes early must not kill.
    let shutdown = Shutdown::by_signals()
        .map_err(|source| CliError::Io { what: "signals cannot be handled", source })?;
    // Held until the end, and before the database: who runs already is told by it.
    let _pid_file = match &args.pid_file {
        Some(path) => Some(PidFile::take(path, &Processes::new()?)?),
        None => None,
    };
    let manager = ServiceManager::of(&overrides.environment);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let settings = &loaded.settings;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        instance = settings.instance.name,
        database = crate::store::redacted(settings.database.url.expose()),
        lock_dir = settings.migrations.lock_dir.as_ref().map(|dir| dir.display().to_string()),
        writes = if settings.server.token.is_empty() { "disabled" } else { "with the token" },
        "starting"
    );
    let app = tokio::select! {
        built = App::build(loaded.settings) => built?,
        () = shutdown.soft.cancelled() => return Ok(Answer::ok("")),
    };
    let reread = Box::new(move || {
        telemetry.reopen().map_err(|error| format!("the log file: {error}"))?;
        reread_nodes(&overrides).map_err(|faults| faults.to_string())
    });
    app.told_to(manager).run(shutdown, reread).await?;
    tracing::info!("ended");
    Ok(Answer::ok(""))
}
