//! What is on a terminal alone: colours; and what shells complete.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use super::{assert_code, stdout};
use crate::support::ports::free_port;
use crate::support::program::clean_command;
use crate::support::{Warden, WardenConfig};

const BINARY: &str = env!("CARGO_BIN_EXE_procwarden");

/// The command line on a terminal of its own, which `script` (bsdutils) makes.
fn on_a_terminal(warden: &Warden, words: &str, env: &[(String, String)]) -> String {
    let config = warden.config_path();
    let line = format!("{BINARY} --config {} {words}", config.display());
    let output = clean_command("script", warden.dir(), env)
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .output()
        .expect("script (bsdutils) starts");
    stdout(&output)
}

#[test]
fn colours_show_on_a_terminal_unless_they_are_switched_off() {
    let warden = Warden::prepare(WardenConfig::default());
    assert_code(&warden.cli(&["migrate"]), 0);
    let port = free_port().to_string();
    assert_code(&warden.cli(&["nodes", "add", "closed", "--port", &port]), 0);
    let red = |text: &str| text.contains("\u{1b}[31m") && text.contains("closed");
    let shown = on_a_terminal(&warden, "status", &[]);
    assert!(red(&shown), "{shown:?}");
    let off = on_a_terminal(&warden, "status", &[("NO_COLOR".to_owned(), "1".to_owned())]);
    assert!(off.contains("closed") && !off.contains('\u{1b}'), "{off:?}");
    let piped = stdout(&warden.cli(&["status"]));
    assert!(piped.contains("closed") && !piped.contains('\u{1b}'), "{piped:?}");
    let json = on_a_terminal(&warden, "status --output json", &[]);
    assert!(!json.contains('\u{1b}'), "{json:?}");
}

fn completions(shell: &str) -> Output {
    // Whatever the configuration is.
    let env = [("PROCWARDEN__NODES__METHOD".to_owned(), "nonsense".to_owned())];
    clean_command(BINARY, Path::new("/"), &env).args(["completions", shell]).output().unwrap()
}

#[test]
fn bash_completes_what_there_is() {
    let script = completions("bash");
    assert_code(&script, 0);
    let ask = r#"source /dev/stdin; COMP_WORDS=(procwarden nodes ex) COMP_CWORD=2
        _procwarden procwarden ex nodes; echo "${COMPREPLY[@]}""#;
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("completions");
    std::fs::write(&file, &script.stdout).unwrap();
    let input = std::fs::File::open(&file).unwrap();
    let answer = Command::new("bash").args(["--norc", "-c", ask]).stdin(input).output().unwrap();
    assert_eq!(stdout(&answer).trim(), "export", "{answer:?}");
    for shell in ["zsh", "fish"] {
        let text = stdout(&completions(shell));
        assert!(text.contains("nagios") && text.contains("dry-run"), "{shell}: {text}");
    }
    assert_code(&completions("tcsh"), 64);
}

#[test]
fn a_look_that_takes_a_while_says_how_far_it_is() {
    // It takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let config = WardenConfig::default()
        .set("nodes.concurrency", 1)
        .set("nodes.api_timeout", "700ms")
        .set("nodes.method", "api");
    let warden = Warden::prepare(config);
    assert_code(&warden.cli(&["migrate"]), 0);
    for name in ["a", "b", "c"] {
        assert_code(&warden.cli(&["nodes", "add", name, "--port", &port]), 0);
    }
    let shown = on_a_terminal(&warden, "status --all", &[]);
    assert!(shown.contains("\r[####################..........] 2/3"), "{shown:?}");
    let blank = format!("\r{}\r", " ".repeat("[] 2/3".len() + 30));
    assert!(shown.contains(&blank), "it is taken away: {shown:?}");
    let piped = warden.cli(&["status", "--all"]);
    assert!(piped.stderr.is_empty(), "{piped:?}");
}

#[test]
fn an_import_that_takes_a_while_says_how_far_it_is() {
    let warden = Warden::prepare(WardenConfig::default());
    let nodes: Vec<_> = (0..4).map(|i| json!({"name": format!("n{i}"), "port": 9})).collect();
    std::fs::write(warden.dir().join("nodes.json"), json!(nodes).to_string()).unwrap();
    let slow = [("FAILPOINTS".to_owned(), "node-written=sleep(700)".to_owned())];
    let shown = on_a_terminal(&warden, "nodes import nodes.json", &slow);
    assert!(shown.contains("\r[###############...............] 2/4"), "{shown:?}");
    assert!(shown.contains(&format!("\r{}\r", " ".repeat("[] 2/4".len() + 30))), "{shown:?}");
    assert!(shown.contains("n3") && shown.contains("added"), "{shown:?}");
    let piped = warden.cli(&["nodes", "import", "nodes.json", "--update"]);
    assert!(piped.status.success() && piped.stderr.is_empty(), "{piped:?}");
}
