//! More than anybody has: what the service does then is bounded, on time or said to be late, and true.
//!
//! Facts, not speed: the program under test is built without optimisation.

mod crowds;
mod readers;

use std::fs;
use std::time::Duration;

use crate::support::Warden;

/// Longest wait for what a program without optimisation does with a hundred thousand of something.
const LONG: Duration = Duration::from_mins(8);

/// Resident memory, MiB; read apart from the service's own code.
fn resident(warden: &Warden) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", warden.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// A figure of `/metrics` by the beginning of its line, without what is behind the point.
async fn figure(warden: &Warden, name: &str) -> u64 {
    let text = String::from_utf8(warden.get("/metrics").await.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}")).trim();
    line.split('.').next().unwrap().parse().unwrap()
}

/// `/readyz?verbose` and `/metrics` say the same of how late a loop is: the worst of a minute or two, which only the second
/// of them may have passed.
async fn lateness_is_told(warden: &Warden, which: &str) {
    let seconds = figure(warden, &format!("procwarden_loop_lag_seconds{{loop=\"{which}\"}}")).await;
    let answer = warden.get("/readyz?verbose").await;
    assert_eq!(answer.status, 200, "{:#}; {}", answer.json, warden.log());
    let ms = answer.json["components"][format!("{which}_lag_ms")].as_u64().expect("a number");
    assert!(ms / 1000 + 1 >= seconds, "{seconds} s, {ms} ms");
    println!("{which}: late by {ms} ms at worst, {} MiB", resident(warden));
}
