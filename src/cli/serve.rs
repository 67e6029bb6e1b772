//! `serve`: the server, until a signal or a failure ends it.

use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::output::Answer;
use crate::app::App;
use crate::config::Loaded;
use crate::telemetry::Telemetry;

pub(super) async fn run(loaded: Loaded, telemetry: Telemetry) -> Result<Answer, CliError> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let app = App::build(loaded.settings, telemetry).await?;
    app.run(CancellationToken::new()).await?;
    Ok(Answer::ok(""))
}
