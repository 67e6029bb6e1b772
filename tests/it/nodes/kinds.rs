//! Nodes that are no wallets: a real `monerod`, other methods, and HTTP servers.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SOON, becomes, data, live, node, node_with};
use crate::support::fake::{Manner, serve, serve_by};
use crate::support::monerod::Monerod;
use crate::support::nginx;
use crate::support::ports::HeldPort;
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, ports};

fn kind(name: &str, port: u16, kind: &str, more: Value) -> Value {
    let mut node = node_with(name, port, more);
    node["kind"] = json!(kind);
    node
}

/// A server that says this for every request.
fn says(status: &str, body: &str) -> u16 {
    serve(Manner::answers(status, body))
}

#[tokio::test]
async fn daemons_with_and_without_login_and_wallets_are_told_apart() {
    let daemon = Monerod::start().await;
    let closed = Monerod::start_with(&["--rpc-login", "user:s3cret", "--restricted-rpc"]).await;
    let wallet = Wallet::start_with(WalletOptions {
        daemon: Some(daemon.port()),
        ..WalletOptions::default()
    })
    .await;
    let login = json!({"username": "user", "password": "s3cret"});
    let config = WardenConfig::default()
        .node(kind("daemon", daemon.port(), "monerod", json!({"pid": daemon.pid()})))
        .node(kind("closed", closed.port(), "monerod", login))
        .node(kind("refused", closed.port(), "monerod", json!({})))
        .node(kind("no-daemon", wallet.port(), "monerod", json!({})))
        .node(node("no-wallet", daemon.port()))
        .node(node("wallet", wallet.port()));
    let warden = Warden::start(config).await;
    for name in ["daemon", "closed", "wallet"] {
        becomes(&warden, name, "up", None).await;
    }
    becomes(&warden, "refused", "down", Some("unauthorized")).await;
    becomes(&warden, "no-daemon", "down", Some("wrong_service")).await;
    becomes(&warden, "no-wallet", "down", Some("wrong_service")).await;

    let full = live(&warden, "daemon", "full", true, None).await;
    let api = &full["checks"]["api"]["details"];
    assert_eq!((&api["height"], &api["target_height"]), (&json!(1), &json!(0)), "{full:#}");
    assert_eq!(full["checks"]["pid"]["details"]["pid"], daemon.pid());
    assert_eq!(full["checks"]["port"]["details"]["listener"]["program"], "monerod");
    let stranger = live(&warden, "no-daemon", "port", false, Some("port_taken")).await;
    assert_eq!(stranger["listener"]["program"], "monero-wallet-rpc");
    // Each is a node of its own kind, also in the list.
    let shown = warden.get("/nodes/daemon").await.json;
    assert_eq!(
        (&data(&shown)["kind"], &data(&shown)["process_name"]),
        (&json!("monerod"), &json!("monerod"))
    );
    let shown = warden.get("/nodes/wallet").await.json;
    assert_eq!(data(&shown)["kind"], "monero-wallet-rpc");
    assert!(data(&shown).get("path").is_none(), "{shown:#}");
}

#[tokio::test]
async fn a_daemon_that_is_behind_is_down_and_says_where_it_is() {
    let port = serve_by(|request| {
        let id = request.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let result = r#"{"status":"OK","height":100,"target_height":500,"synchronized":false}"#;
        let body = format!(r#"{{"id":"{}","jsonrpc":"2.0","result":{result}}}"#, id.unwrap_or("?"));
        Manner::answers("200 OK", &body)
    });
    let config = WardenConfig::default().node(kind(
        "behind",
        port,
        "monerod",
        json!({"process_name": program()}),
    ));
    let warden = Warden::start(config).await;
    let row = becomes(&warden, "behind", "down", Some("rpc_error")).await;
    assert_eq!(row["message"], "not synchronized: height 100 of 500");
    let full = live(&warden, "behind", "full", false, Some("rpc_error")).await;
    assert_eq!(full["message"], "not synchronized: height 100 of 500");
    assert_eq!(full["summary"]["port_in_use"], true);
}

/// The program that the servers in this process belong to.
fn program() -> String {
    let path = std::env::current_exe().unwrap();
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn any_method_of_a_json_rpc_server_is_a_node() {
    let (daemon, wallet) = (Monerod::start().await, Wallet::start().await);
    let rpc = |name: &str, port, more| kind(name, port, "json-rpc", more);
    let config = WardenConfig::default()
        .node(rpc("count", daemon.port(), json!({"rpc_method": "get_block_count", "expect_field": "/count", "expect_value": "1"})))
        .node(rpc("any", daemon.port(), json!({"rpc_method": "hard_fork_info"})))
        .node(rpc("no-field", daemon.port(), json!({"rpc_method": "get_block_count", "expect_field": "/counts"})))
        .node(rpc("other", daemon.port(), json!({"rpc_method": "get_block_count", "expect_field": "/status", "expect_value": "BUSY"})))
        .node(rpc("closed", wallet.port(), json!({"rpc_method": "get_height"})))
        .node(rpc("lost", wallet.port(), json!({"rpc_method": "get_version", "path": "/rpc"})));
    let warden = Warden::start(config).await;
    becomes(&warden, "count", "up", None).await;
    becomes(&warden, "any", "up", None).await;
    becomes(&warden, "no-field", "down", Some("wrong_service")).await;
    let other = becomes(&warden, "other", "down", Some("rpc_error")).await;
    assert_eq!(other["message"], "/status is \"OK\", not BUSY");
    // No wallet is open.
    becomes(&warden, "closed", "down", Some("rpc_error")).await;
    becomes(&warden, "lost", "down", Some("http_status")).await;
    // Its process may be any program.
    let full = live(&warden, "count", "full", true, None).await;
    let pid = &full["checks"]["pid"]["details"];
    assert_eq!(
        (&pid["pid"], pid.get("is_monero_process")),
        (&json!(daemon.pid()), None),
        "{full:#}"
    );
    assert_eq!(data(&warden.get("/nodes/count").await.json)["process_name"], Value::Null);
}

#[tokio::test]
async fn an_http_node_is_what_its_status_and_its_body_say() {
    let (ok, gone) = (says("200 OK", r#"{"state":{"db":"ok"},"n":3}"#), says("503 Busy", "{}"));
    let page = says("200 OK", &"x".repeat(200_000));
    let none = serve(Manner::Says(b"HTTP/1.1 204 None\r\n\r\n".to_vec()));
    let endless = serve(Manner::Endless);
    let query = serve_by(|request| {
        let right = request.starts_with("GET /ready?full=1 HTTP/1.1\r\nHost: 127.0.0.1:");
        Manner::answers(if right { "200 OK" } else { "400 Bad" }, "{}")
    });
    let http = |name: &str, port, more| kind(name, port, "http", more);
    let field = |field: &str, value: &str| json!({"expect_field": field, "expect_value": value});
    let config = WardenConfig::default()
        .node(http("ok", ok, json!({})))
        .node(http("value", ok, field("/state/db", "ok")))
        .node(http("number", ok, field("/n", "3")))
        .node(http("expected", gone, json!({"expect_status": "200,503"})))
        .node(http("empty", none, json!({"expect_status": "204"})))
        .node(http("page", page, json!({})))
        .node(http("endless", endless, json!({})))
        .node(http("query", query, json!({"path": "/ready?full=1"})))
        .node(http("other", ok, field("/state/db", "down")))
        .node(http("missing", ok, json!({"expect_field": "/state/cache"})))
        .node(http("gone", gone, json!({})))
        .node(http("strict", ok, json!({"expect_status": "201-299"})))
        .node(http("html", says("200 OK", "<p>ok"), json!({"expect_field": "/a"})))
        .node(http("long", page, json!({"expect_field": "/a"})))
        .node(http("refused", ports::free_port(), json!({})));
    let warden = Warden::start(config).await;
    for name in ["ok", "value", "number", "expected", "empty", "page", "endless", "query"] {
        becomes(&warden, name, "up", None).await;
    }
    for (name, reason) in [
        ("other", "rpc_error"),
        ("missing", "wrong_service"),
        ("gone", "http_status"),
        ("strict", "http_status"),
        ("html", "not_json_rpc"),
        ("long", "not_json_rpc"),
        ("refused", "port_closed"),
    ] {
        becomes(&warden, name, "down", Some(reason)).await;
    }
    let long = live(&warden, "long", "api", false, Some("not_json_rpc")).await;
    assert_eq!(long["error"], "the answer is longer than 64 KiB");
    let empty = live(&warden, "empty", "api", true, None).await;
    assert_eq!(empty["status_code"], 204);
    let query = live(&warden, "query", "api", true, None).await;
    assert!(
        query["url"].as_str().unwrap().ends_with("/ready"),
        "a query may be a secret: {query:#}"
    );
    live(&warden, "ok", "full", true, None).await;
}

#[tokio::test]
async fn a_real_web_server_is_up_while_it_serves_what_is_expected() {
    let dir = TempDir::new().unwrap();
    let port = HeldPort::take().hand_over();
    std::fs::write(dir.path().join("state.json"), r#"{"state":"ok"}"#).unwrap();
    let site = format!(
        "gzip on; gzip_min_length 1; gzip_types application/json;
         server {{ listen 127.0.0.1:{port}; root {}; location = /moved {{ return 302 /state.json; }} }}",
        dir.path().display()
    );
    let mut server = nginx::site(dir.path(), &site);
    let http = |name: &str, more| kind(name, port, "http", more);
    let expects = json!({"path": "/state.json", "expect_field": "/state", "expect_value": "ok"});
    let config = WardenConfig::default()
        .node(http("state", expects))
        .node(http("missing", json!({"path": "/none"})))
        .node(http("moved", json!({"path": "/moved"})));
    let warden = Warden::start(config).await;
    becomes(&warden, "state", "up", None).await;
    becomes(&warden, "missing", "down", Some("http_status")).await;
    becomes(&warden, "moved", "down", Some("http_status")).await;
    std::fs::write(dir.path().join("state.json"), r#"{"state":"broken"}"#).unwrap();
    becomes(&warden, "state", "down", Some("rpc_error")).await;
    std::fs::write(dir.path().join("state.json"), r#"{"state":"ok"}"#).unwrap();
    becomes(&warden, "state", "up", None).await;
    server.kill();
    becomes(&warden, "state", "down", Some("port_closed")).await;
}

#[tokio::test]
async fn a_node_turns_from_kind_to_kind() {
    let daemon = Monerod::start().await;
    let warden = Warden::start(WardenConfig::default().node(node("n", daemon.port()))).await;
    becomes(&warden, "n", "down", Some("wrong_service")).await;
    let patch = async |body: Value| {
        let answer = warden.patch("/nodes/n", &body).await;
        assert_eq!(answer.status, 200, "{:#}", answer.json);
        data(&answer.json).clone()
    };
    let now = patch(json!({"kind": "monerod"})).await;
    assert_eq!((&now["kind"], &now["process_name"]), (&json!("monerod"), &json!("monerod")));
    becomes(&warden, "n", "up", None).await;
    let rpc = json!({"kind": "json-rpc", "rpc_method": "get_info", "expect_field": "/no"});
    let now = patch(rpc).await;
    assert_eq!((&now["rpc_method"], &now["process_name"]), (&json!("get_info"), &Value::Null));
    becomes(&warden, "n", "down", Some("wrong_service")).await;
    // What is not said stays, null removes.
    let now = patch(json!({"expect_field": null})).await;
    assert_eq!((&now["rpc_method"], now.get("expect_field")), (&json!("get_info"), None));
    becomes(&warden, "n", "up", None).await;
    let now =
        patch(json!({"kind": "http", "path": "/get_height", "process_name": "monerod"})).await;
    assert_eq!((now.get("rpc_method"), &now["path"]), (None, &json!("/get_height")));
    becomes(&warden, "n", "up", None).await;
    let now = patch(json!({"kind": "monero-wallet-rpc"})).await;
    assert_eq!(
        (&now["process_name"], now.get("path")),
        (&json!("monerod"), None),
        "a name that was chosen stays"
    );
    becomes(&warden, "n", "down", Some("wrong_service")).await;
}

#[tokio::test]
async fn what_does_not_go_with_a_kind_is_refused_by_its_name() {
    let warden = Warden::start(WardenConfig::default()).await;
    for (more, field, part) in [
        (json!({"kind": "wallet"}), "kind", "must be one of monero-wallet-rpc"),
        (json!({"kind": "json-rpc"}), "rpc_method", "is required for kind json-rpc"),
        (json!({"rpc_method": "get_info"}), "rpc_method", "is for kind json-rpc"),
        (json!({"kind": "monerod", "path": "/"}), "path", "is for kind json-rpc or http"),
        (json!({"kind": "http", "path": "status"}), "path", "must begin with /"),
        (json!({"kind": "http", "path": "/a b\r\nX: y"}), "path", "must begin with /"),
        (json!({"kind": "http", "expect_status": 200}), "expect_status", "must be a string"),
        (json!({"kind": "http", "expect_status": "2xx"}), "expect_status", "codes from 200"),
        (json!({"kind": "http", "expect_field": "status"}), "expect_field", "JSON pointer"),
        (json!({"kind": "http", "expect_value": "x"}), "expect_value", "needs expect_field"),
        (json!({"process_name": ""}), "process_name", "not empty or null"),
    ] {
        let answer = warden.post("/nodes", &node_with("n", 1, more.clone())).await;
        assert_eq!(answer.status, 400, "{more}: {:#}", answer.json);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["field"], field, "{more}: {:#}", answer.json);
        assert!(
            answer.json["detail"].as_str().unwrap().contains(part),
            "{more}: {:#}",
            answer.json
        );
    }
    let bad = json!({"kind": "json-rpc", "rpc_method": "m", "path": "x", "expect_value": "v"});
    let answer = warden.post("/nodes", &node_with("n", 1, bad)).await;
    let detail = answer.json["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("path: must begin") && detail.contains("expect_value: needs"),
        "{detail}"
    );
    assert_eq!(warden.get("/nodes/n").await.status, 404, "nothing of it was written");
}

#[tokio::test]
async fn kinds_go_through_the_file_the_command_line_and_an_export() {
    let config = WardenConfig::default().node(kind("file", 1, "http", json!({"path": "/f"})));
    let warden = Warden::start(config).await;
    let words = [
        "nodes",
        "add",
        "line",
        "--port",
        "2",
        "--kind",
        "json-rpc",
        "--rpc-method",
        "m",
        "--expect-field",
        "/a",
    ];
    assert!(warden.cli(&words).status.success());
    let set = ["nodes", "set", "line", "--clear", "expect_field", "--path", "/p"];
    assert!(warden.cli(&set).status.success());
    let table = String::from_utf8(warden.cli(&["nodes", "list"]).stdout).unwrap();
    assert!(table.contains("KIND") && table.contains("json-rpc"), "{table}");
    let exported = String::from_utf8(warden.cli(&["nodes", "export"]).stdout).unwrap();
    let nodes: Value = serde_json::from_str(&exported).unwrap();
    let line = &nodes["nodes"][1];
    assert_eq!(
        (&line["kind"], &line["rpc_method"], &line["path"]),
        (&json!("json-rpc"), &json!("m"), &json!("/p"))
    );
    assert_eq!((&line["expect_field"], &line["process_name"]), (&Value::Null, &Value::Null));

    let other = Warden::prepare(WardenConfig::default());
    std::fs::write(other.dir().join("nodes.json"), &exported).unwrap();
    assert!(other.cli(&["nodes", "import", "nodes.json"]).status.success());
    let again = String::from_utf8(other.cli(&["nodes", "export"]).stdout).unwrap();
    assert_eq!(again, exported, "what was exported is what was imported");
    let mut seen = String::new();
    for words in [["nodes", "show", "file"], ["nodes", "show", "line"]] {
        let _ = write!(seen, "{}", String::from_utf8_lossy(&other.cli(&words).stdout));
    }
    assert!(seen.contains("/f") && seen.contains("json-rpc"), "{seen}");
    tokio::time::timeout(SOON, warden.get("/nodes")).await.unwrap();
}

#[tokio::test]
async fn a_file_with_bad_parameters_names_every_one() {
    let config = WardenConfig::default()
        .node(kind("a", 1, "json-rpc", json!({"path": "x", "expect_status": "200"})))
        .node(kind("b", 2, "http", json!({"expect_status": "abc", "expect_value": "v"})));
    let output = Warden::prepare(config).cli(&["check-config"]);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "node[a].path: 'x' must begin with /",
        "node[a].expect_status: is for kind http",
        "node[b].expect_status: 'abc' must be codes",
        "node[b].expect_value: needs expect_field",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
