//! `procwarden`: parses the command line, starts telemetry, dispatches, maps an error to an exit code.

use std::process::ExitCode;

use procwarden::cli::{self, Answer, Cli, CliError, Exit};

fn main() -> ExitCode {
    procwarden::failpoint::setup();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let for_nagios = cli.is_for_nagios();
    match run(cli) {
        Ok(answer) => print(&answer),
        Err(error) if for_nagios => print(&cli::nagios_failure(&error.chain())),
        Err(error) => {
            cli::complain(&error.chain());
            error.exit().into()
        }
    }
}

fn print(answer: &Answer) -> ExitCode {
    match answer.print() {
        Ok(()) => answer.exit.into(),
        Err(error) => {
            cli::complain(&format!("standard output: {error}"));
            Exit::CouldNotTell.into()
        }
    }
}

fn run(cli: Cli) -> Result<Answer, CliError> {
    let prepared = cli.prepare()?;
    let telemetry = prepared.start_telemetry()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "the runtime cannot be started", source })?;
    let ended = runtime.block_on(prepared.run(telemetry));
    // A look at a file system that hangs must not keep the process from ending.
    runtime.shutdown_background();
    ended
}
