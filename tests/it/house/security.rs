//! `SECURITY.md` names the tests that hold its promises: each of them is there. And who may send a signal.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::source::sources;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The functions of all tests, by `module::name`: the file's or the directory's name, and the function's.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for dir in ["src", "tests/it"] {
        collect(&root().join(dir), &mut found);
    }
    assert!(found.len() > 500, "{} tests", found.len());
    found
}

fn collect(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = if matches!(stem, "mod" | "tests") {
            path.parent().unwrap().file_name().unwrap().to_str().unwrap()
        } else {
            stem
        };
        let text = fs::read_to_string(&path).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            // A row of the matrix of faults is a test as well.
            if let Some((name, _)) = line.split_once(": Fault::").filter(|_| line.contains(';')) {
                found.insert(format!("{module}::{name}"));
            }
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if let Some(name) = function.and_then(|rest| rest.split(['(', '<']).next()) {
                if is_test {
                    found.insert(format!("{module}::{name}"));
                }
                is_test = false;
            }
        }
    }
}

/// What stands in back quotes and has the form of a test.
fn named(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    quoted
        .filter(|it| {
            it.split_once("::").is_some_and(|(module, name)| is_name(module) && is_name(name))
        })
        .collect()
}

#[test]
fn every_test_that_a_promise_names_is_there() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (named, tests) = (named(&text), tests());
    assert!(named.len() > 30, "{} are named", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that are not there: {missing:#?}");
}

/// A promise without a test is none: each line of a table of promises ends with one.
#[test]
fn every_promise_names_a_test() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let rows: Vec<&str> = text
        .split("| promise | held by |\n|---|---|\n")
        .skip(1)
        .flat_map(|table| table.lines().take_while(|line| line.starts_with("| ")))
        .collect();
    let bare: Vec<_> = rows
        .iter()
        .filter(|row| row.split('|').nth(2).is_none_or(|it| named(it).is_empty()))
        .collect();
    assert!(rows.len() > 20 && bare.is_empty(), "{bare:#?}");
}

/// A watched process is never signalled: a signal is sent by `stop`, to whom our own PID file means, and by a fail point to
/// ourselves. `test_kill_process` asks with signal 0, which none receives.
#[test]
fn nobody_sends_a_signal_but_stop() {
    let senders = [
        "kill_process",
        "kill_process_group",
        "kill_current_process_group",
        "pidfd_send_signal",
        "sigqueue",
        "tgkill",
        "tkill",
        "killpg",
        "start_kill",
    ];
    let mut seen = BTreeSet::new();
    for source in sources() {
        for line in source.lines_with(&senders) {
            if !line.contains(": use ") {
                seen.insert((
                    source.path.clone(),
                    line.split(": ").nth(1).unwrap_or_default().to_owned(),
                ));
            }
        }
        for line in source.lines_with(&[".signal(", ".kill("]) {
            seen.insert((
                source.path.clone(),
                line.split(": ").nth(1).unwrap_or_default().to_owned(),
            ));
        }
        let libc = source.lines_with(&[
            "libc::kill",
            "kill_on_drop",
            "std::process::Command",
            "process::Command",
        ]);
        assert!(libc.is_empty(), "{libc:#?}");
    }
    let seen: Vec<_> = seen.iter().map(|(path, line)| (path.as_str(), line.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("failpoint.rs", "let _ = kill_process(getpid(), Signal::KILL);"),
            ("pid_file.rs", "handle.signal(Signal::TERM).map_err(io)?;"),
            ("process/look.rs", "Ok(pidfd_send_signal(&self.pidfd, signal)?)"),
        ]
    );
}
