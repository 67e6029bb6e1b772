//! `stop`: ends the server that a PID file means, and waits for its end.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::exit::{CliError, Exit};
use super::output::Answer;
use crate::pid_file::end;
use crate::process::Processes;

/// A server ends within 8 s by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn run(path: &Path) -> Result<Answer, CliError> {
    let processes = Processes::new()?;
    let Some(server) = end(path, &processes)? else {
        return Ok(Answer::ok("no server runs\n"));
    };
    let (pid, until) = (server.identity().pid, Instant::now() + PATIENCE);
    while !server.has_exited() {
        if Instant::now() > until {
            let text = format!("PID {pid} was asked to end and runs on");
            return Ok(Answer::ok("").noting(text).ending(Exit::Down));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Answer::ok(format!("PID {pid} has ended\n")))
}
