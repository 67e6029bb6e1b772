//! `nodes`: what it writes, what it refuses, what it shows.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use super::{assert_code, json as parsed, stderr, stdout};
use crate::support::program::clean_command;
use crate::support::{Warden, WardenConfig};

fn fresh() -> Warden {
    let warden = Warden::prepare(WardenConfig::default());
    assert_code(&warden.cli(&["migrate"]), 0);
    warden
}

fn shown(warden: &Warden, name: &str) -> serde_json::Value {
    let list = parsed(&warden.cli(&["nodes", "list", "--output", "json"]));
    crate::nodes::find(&list["data"], name)
}

#[test]
fn nodes_are_added_set_and_removed() {
    let warden = fresh();
    let add = [
        "nodes",
        "add",
        "main",
        "--host",
        "127.0.0.1",
        "--port",
        "18082",
        "--title",
        "The main one",
        "--username",
        "user",
        "--password",
        "hunter2",
    ];
    assert_code(&warden.cli(&add), 0);
    let node = shown(&warden, "main");
    assert_eq!((&node["port"], &node["title"]), (&json!(18_082), &json!("The main one")));
    assert_eq!(node["username"], "user");
    assert!(!node.to_string().contains("hunter2"), "{node:#}");

    assert_code(&warden.cli(&["nodes", "set", "main", "--port", "18083", "--pid", "42"]), 0);
    let node = shown(&warden, "main");
    assert_eq!((&node["port"], &node["pid"]), (&json!(18_083), &json!(42)));
    assert_eq!(node["title"], "The main one", "what was not named stays");
    assert_code(&warden.cli(&["nodes", "set", "main", "--clear", "pid"]), 0);
    assert_eq!(shown(&warden, "main")["pid"], json!(null));

    assert_code(&warden.cli(&["nodes", "remove", "main"]), 0);
    assert_eq!(shown(&warden, "main"), json!(null));
    assert_code(&warden.cli(&["nodes", "remove", "main"]), 2);
}

#[test]
fn what_is_no_node_is_refused_with_its_reason() {
    let warden = fresh();
    assert_code(&warden.cli(&["nodes", "add", "main", "--port", "18082"]), 0);
    for args in [
        &["nodes", "add", "main", "--port", "18083"][..],
        &["nodes", "add", "status", "--port", "18083"],
        &["nodes", "add", "42", "--port", "18083"],
        &["nodes", "add", "a/b", "--port", "18083"],
        &["nodes", "add", "n", "--port", "0"],
        &["nodes", "add", "n", "--port", "1", "--tls", "maybe"],
        &["nodes", "set", "main", "--host", ""],
    ] {
        let output = warden.cli(args);
        assert_code(&output, 64);
        assert!(!stderr(&output).is_empty(), "{args:?}");
    }
    let list = parsed(&warden.cli(&["nodes", "list", "--output", "json"]));
    assert_eq!(list["count"], 1, "{list:#}");
}

#[test]
fn a_password_may_come_from_standard_input() {
    let warden = fresh();
    let mut child = clean_command("timeout", warden.dir(), &[])
        .args(["60", env!("CARGO_BIN_EXE_procwarden"), "--config"])
        .arg(warden.config_path())
        .args(["nodes", "add", "main", "--port", "18082", "--username", "u", "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 0);
    assert!(!stdout(&output).contains("hunter2"));
    let exported = parsed(&warden.cli(&["nodes", "export", "--secrets"]));
    assert_eq!(exported["nodes"][0]["password"], "hunter2", "without the end of the line");
    let row = &crate::support::db::nodes(warden.database())[0];
    assert!(row["password"].as_str().unwrap().starts_with("procwarden-sealed:1:"));
}
