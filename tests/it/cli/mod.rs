//! The command line: exit codes, tables, JSON, and its manners beside a running server.

mod codes;
mod copies;
mod grants;
mod migrations;
mod nagios;
mod registry;
mod running;
mod shared;
mod tables;
mod terminal;
mod their_env;
mod tls;

use std::process::Output;

/// Longest line of a table.
const COLUMNS: usize = 80;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The exit code was this one; else everything that was said.
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}\n{}", stdout(output), stderr(output));
}

/// What was said on standard output as JSON.
fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", stdout(output), stderr(output)))
}
