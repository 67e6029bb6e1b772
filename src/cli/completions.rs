//! `completions`: what a shell needs to complete this command line.

use clap::CommandFactory as _;
use clap_complete::{Generator, generate};

use super::args::{Cli, Shell};
use super::output::Answer;

pub(super) fn run(shell: Shell) -> Answer {
    match shell {
        Shell::Bash => written(clap_complete::Shell::Bash),
        Shell::Zsh => written(clap_complete::Shell::Zsh),
        Shell::Fish => written(clap_complete::Shell::Fish),
    }
}

fn written(shell: impl Generator) -> Answer {
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), "procwarden", &mut text);
    Answer::ok(String::from_utf8_lossy(&text))
}
