//! `nodes export` and `nodes import FILE`.

use serde_json::{Value, json};

use super::{assert_code, json as parsed, stderr, stdout};
use crate::support::{Warden, WardenConfig};

fn fresh() -> Warden {
    let warden = Warden::prepare(WardenConfig::default());
    assert_code(&warden.cli(&["migrate"]), 0);
    warden
}

fn list(warden: &Warden) -> Vec<Value> {
    let list = parsed(&warden.cli(&["nodes", "list", "--output", "json"]));
    let keep = |it: &Value| {
        let keys = [
            "name",
            "title",
            "port",
            "host",
            "tls",
            "username",
            "has_password",
            "pid_file",
            "instance",
        ];
        keys.map(|key| it[key].clone()).into_iter().collect()
    };
    list["data"].as_array().unwrap().iter().map(keep).collect()
}

#[test]
fn what_is_exported_is_the_same_elsewhere_and_secrets_go_along_only_when_asked_for() {
    let here = fresh();
    let add = [
        "nodes",
        "add",
        "a \"b\" \u{1f980}",
        "--port",
        "18082",
        "--title",
        "<b>",
        "--username",
        "u",
    ];
    assert_code(&here.cli_reading(&[&add[..], &["--password-stdin"]].concat(), "s3cret"), 0);
    assert_code(
        &here.cli(&["nodes", "add", "c", "--port", "1", "--host", "::1", "--tls", "verify"]),
        0,
    );
    let plain = here.cli(&["nodes", "export"]);
    assert!(!stdout(&plain).contains("s3cret") && stderr(&plain).contains("--secrets"));
    let whole = here.cli(&["nodes", "export", "--secrets"]);
    assert!(stdout(&whole).contains("s3cret") && stderr(&whole).contains("keep it"));

    let there = fresh();
    std::fs::write(there.dir().join("nodes.json"), &whole.stdout).unwrap();
    let dry = there.cli(&["nodes", "import", "nodes.json", "--dry-run"]);
    assert_code(&dry, 0);
    assert_eq!(stdout(&dry).matches("would be added").count(), 2, "{}", stdout(&dry));
    assert!(list(&there).is_empty());
    let done = there.cli(&["nodes", "import", "nodes.json", "--output", "json"]);
    assert_code(&done, 0);
    assert_eq!(parsed(&done)["count"], 2);
    assert_eq!(list(&there), list(&here));
    assert_eq!(there.cli(&["nodes", "export", "--secrets"]).stdout, whole.stdout);

    // The same without secrets leaves the password that is there.
    let again = there.cli_reading(&["nodes", "import", "-", "--update"], &stdout(&plain));
    assert_eq!(stdout(&again).matches("same").count(), 2, "{}", stdout(&again));
    assert_eq!(there.cli(&["nodes", "export", "--secrets"]).stdout, whole.stdout);
    let changed = stdout(&plain).replace("18082", "18083");
    let left = there.cli_reading(&["nodes", "import", "-"], &changed);
    assert_eq!(stdout(&left).matches("exists").count(), 2);
    let updated = there.cli_reading(&["nodes", "import", "-", "--update"], &changed);
    assert_eq!(stdout(&updated).matches("changed").count(), 1, "{}", stdout(&updated));
    assert!(stdout(&there.cli(&["nodes", "export", "--secrets"])).contains("s3cret"));
}

#[test]
fn one_that_cannot_be_a_node_keeps_all_out_and_each_is_told_of() {
    let warden = fresh();
    let rows = json!([
        {"name": "good", "port": 1},
        {"name": "good", "port": 2},
        {"name": "a/b", "port": 3},
        {"name": "\u{1b}[2J", "port": 4},
        {"port": 5},
        {"name": "x", "port": 70000},
        {"name": "y", "port": 6, "colour": "red"},
        {"name": "z", "port": 7, "password": 4242},
        "nothing",
    ]);
    let output =
        warden.cli_reading(&["nodes", "import", "-", "--output", "json"], &rows.to_string());
    assert_code(&output, 1);
    let answer = parsed(&output);
    let results: Vec<&Value> =
        answer["data"].as_array().unwrap().iter().map(|it| &it["result"]).collect();
    assert_eq!(results[0], "would be added");
    assert!(results[1..].iter().all(|it| *it == "faulty"), "{answer:#}");
    assert!(!stdout(&output).contains("4242"));
    assert_eq!((&answer["success"], &answer["count"]), (&json!(false), &json!(0)));
    let table = warden.cli_reading(&["nodes", "import", "-"], &rows.to_string());
    assert_code(&table, 1);
    assert!(
        !stdout(&table).contains('\u{1b}')
            && stderr(&table).contains("nothing was imported: mend 8")
    );
    assert!(list(&warden).is_empty());
    for bad in ["", "{}", "7", "[1"] {
        assert_code(&warden.cli_reading(&["nodes", "import", "-"], bad), 64);
    }
    assert_code(&warden.cli(&["nodes", "import", "not-there.json"]), 2);
}
