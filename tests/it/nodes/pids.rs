//! Whose PID it is: given, from a file, the listener's, a stranger's, another one after a restart.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SOON, becomes, find, live, node, node_with, watching};
use crate::support::program::{Program, copy_program};
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, ports};

#[tokio::test]
async fn without_a_pid_the_owner_of_the_listening_port_is_the_process() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .node(node("found", wallet.port()))
        .node(node("nobody", ports::free_port()));
    let warden = Warden::start(config).await;
    let found = live(&warden, "found", "pid", true, None).await;
    assert_eq!(found["pid"], wallet.pid());
    let nobody = live(&warden, "nobody", "pid", false, Some("pid_missing")).await;
    assert_eq!((&nobody["pid"], &nobody["message"]), (&Value::Null, &json!("PID not set")));
}

#[tokio::test]
async fn a_pid_file_is_read_at_each_check() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("wallet.pid");
    let mut wallet = Wallet::start().await;
    fs::write(&file, format!("{}\n", wallet.pid())).unwrap();
    let warden =
        watching(node_with("filed", wallet.port(), json!({"pid_file": file.to_str().unwrap()})))
            .await;
    let seen = live(&warden, "filed", "pid", true, None).await;
    assert_eq!(seen["pid"], wallet.pid());

    wallet.kill();
    live(&warden, "filed", "pid", false, Some("process_gone")).await;
    let again =
        Wallet::start_with(WalletOptions { port: Some(wallet.port()), ..Default::default() }).await;
    fs::write(&file, again.pid().to_string()).unwrap();
    warden
        .until("/nodes/filed/status?method=pid", SOON, |answer| {
            let details = &answer.json["details"];
            (answer.json["status"] == true && details["pid"] == again.pid()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_server_restarted_under_another_pid_is_the_same_node() {
    let mut wallet = Wallet::start().await;
    // A second between looks: `restarted` stands in the record until the next one.
    let config = WardenConfig::default()
        .set("nodes.method", "full")
        .set("nodes.interval", "2s")
        .node(node("again", wallet.port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "again", "up", None).await;
    wallet.kill();
    becomes(&warden, "again", "down", Some("port_closed")).await;

    let second =
        Wallet::start_with(WalletOptions { port: Some(wallet.port()), ..Default::default() }).await;
    assert_ne!(second.pid(), wallet.pid());
    let node = warden
        .until("/nodes/status", SOON, |answer| {
            let node = find(&answer.json["nodes"], "again");
            (node["reason"] == "restarted").then_some(node)
        })
        .await;
    assert_eq!((&node["state"], &node["status"]), (&json!("up"), &json!(true)));
    let pid = warden.get("/nodes/again/status?method=pid").await.json;
    assert_eq!((&pid["status"], &pid["details"]["pid"]), (&json!(true), &json!(second.pid())));
}

#[tokio::test]
async fn a_given_pid_that_restarted_is_adopted_and_never_rewritten() {
    let mut wallet = Wallet::start().await;
    let old = wallet.pid();
    let config = WardenConfig::default().set("nodes.method", "full").node(node_with(
        "given",
        wallet.port(),
        json!({"pid": old}),
    ));
    let warden = Warden::start(config).await;
    becomes(&warden, "given", "up", None).await;
    wallet.kill();
    becomes(&warden, "given", "down", Some("port_closed")).await;
    let second =
        Wallet::start_with(WalletOptions { port: Some(wallet.port()), ..Default::default() }).await;
    let node = warden
        .until("/nodes/status", SOON, |answer| {
            let node = find(&answer.json["nodes"], "given");
            (node["state"] == "up").then_some(node)
        })
        .await;
    assert!(["restarted", "pid_adopted"].iter().any(|word| node["reason"] == *word), "{node:#}");
    let pid = warden.get("/nodes/given/status?method=pid").await.json;
    assert_eq!((&pid["status"], &pid["details"]["pid"]), (&json!(true), &json!(second.pid())));
    let registered = warden.get("/nodes/given").await.json;
    assert_eq!(super::data(&registered)["pid"], old, "the user's PID is the user's");
}

#[tokio::test]
async fn a_strangers_pid_is_passed_over_for_the_listener_or_told_as_wrong() {
    let dir = TempDir::new().unwrap();
    let stranger = Program::sleeper(dir.path());
    let wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .set("nodes.method", "pid")
        .node(node_with("listens", wallet.port(), json!({"pid": stranger.pid()})))
        .node(node_with("nobody", ports::free_port(), json!({"pid": stranger.pid()})));
    let warden = Warden::start(config).await;

    let adopted = becomes(&warden, "listens", "up", Some("pid_adopted")).await;
    assert_eq!(adopted["status"], true);
    let details = live(&warden, "listens", "pid", true, Some("pid_adopted")).await;
    assert_eq!(details["pid"], wallet.pid());
    assert_eq!(super::data(&warden.get("/nodes/listens").await.json)["pid"], stranger.pid());

    becomes(&warden, "nobody", "down", Some("wrong_process")).await;
    let details = live(&warden, "nobody", "pid", false, Some("wrong_process")).await;
    assert_eq!(details["message"], "Process exists but not monero-wallet-rpc");
    assert_eq!(details["pid"], stranger.pid());
}

#[tokio::test]
async fn the_program_is_compared_by_its_whole_name() {
    let dir = TempDir::new().unwrap();
    // `comm` of both is `monero-wallet-r`: cut at 15 characters it cannot tell them apart.
    let other = dir.path().join("monero-wallet-rescue");
    copy_program("/bin/sleep", &other);
    let process = Program::start(&other, ["600"], dir.path(), &dir.path().join("log"), &[]);
    let config = WardenConfig::default()
        .set("nodes.method", "pid")
        .node(node_with("cut", ports::free_port(), json!({"pid": process.pid()})))
        .node(node_with(
            "named",
            ports::free_port(),
            json!({"pid": process.pid(), "process_name": "monero-wallet-rescue"}),
        ));
    let warden = Warden::start(config).await;
    becomes(&warden, "cut", "down", Some("wrong_process")).await;
    becomes(&warden, "named", "up", None).await;
}

#[tokio::test]
async fn what_cannot_be_a_process_of_the_user_is_unknown_or_refused() {
    let warden = Warden::start(WardenConfig::default().set("nodes.method", "pid")).await;
    for (name, pid) in [("zero", 0_i64), ("negative", -7), ("huge", 4_294_967_296), ("kernel", 2)] {
        let answer =
            warden.post("/nodes", &node_with(name, ports::free_port(), json!({"pid": pid}))).await;
        if answer.status == 400 {
            continue;
        }
        assert_eq!(answer.status, 201, "{pid}: {:#}", answer.json);
        let live = warden.get(&format!("/nodes/{name}/status?method=pid")).await.json;
        assert_eq!(live["status"], false, "{pid}: {live:#}");
        // Not proven dead: whatever it is, it must not be called gone.
        assert_ne!(live["details"]["reason"], "process_gone", "{pid}: {live:#}");
    }
}

#[tokio::test]
async fn a_pid_on_another_host_means_nothing_here() {
    // 192.0.2.1 is nobody's (RFC 5737); the method asks nothing of the network.
    let config = WardenConfig::default().set("nodes.method", "pid").node(
        json!({"name": "remote", "host": "192.0.2.1", "port": 18082, "pid": std::process::id()}),
    );
    let warden = Warden::start(config).await;
    becomes(&warden, "remote", "unknown", Some("pid_not_applicable")).await;
    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["working"]), (503, &json!(0)));
}
