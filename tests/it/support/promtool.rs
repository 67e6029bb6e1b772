//! The real `promtool`: what it says of figures and rules.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `promtool` with these words and this on its standard input.
pub fn promtool(words: &[&str], input: &str, dir: &Path) -> Output {
    let mut child = Command::new("promtool")
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (prometheus) starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Fails the test with all that was said, unless it is content and silent.
pub fn content(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    let written = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{written}");
}

/// What `promtool check metrics` finds in the older format: faults, and what is against the customs.
pub fn check_metrics(text: &str) {
    let output = promtool(&["check", "metrics"], text, Path::new("/"));
    content(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "it has no remark either");
}

/// Reads OpenMetrics with Prometheus' own parser; `promtool check metrics` knows the older format only. What it reads for
/// wants a time with each sample.
pub fn check_open_metrics(text: &str) {
    let dir = tempfile::TempDir::new().unwrap();
    let timed: String = text
        .lines()
        .map(|line| {
            if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1700000000\n") }
        })
        .collect();
    std::fs::write(dir.path().join("figures"), timed).unwrap();
    let words = ["tsdb", "create-blocks-from", "openmetrics", "figures", "blocks"];
    content(&promtool(&words, "", dir.path()));
}
