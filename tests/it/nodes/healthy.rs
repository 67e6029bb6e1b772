//! A healthy server by all four methods, with and without login, over one kept connection.

use serde_json::{Value, json};

use super::{SOON, becomes, live, node, node_with, shown, watching};
use crate::support::shape::{assert_like, example};
use crate::support::{Wallet, Warden, WardenConfig, eventually, kernel};

/// What the real server of Debian 12 answers: wallet RPC 1.25.
const VERSION: i64 = 65_561;

#[tokio::test]
async fn a_healthy_server_is_healthy_by_every_method() {
    let wallet = Wallet::start().await;
    let warden = watching(node_with("main", wallet.port(), json!({"pid": wallet.pid()}))).await;

    let pid = warden.get("/nodes/main/status?method=pid").await.json;
    assert_like(&pid, &example("node-status-pid"), &[]);
    assert_eq!(pid["status"], true);
    assert_eq!(pid["details"]["pid"], wallet.pid());
    assert_eq!(pid["details"]["is_monero_process"], true);
    assert_eq!(pid["details"]["message"], "Process is running");

    let port = warden.get("/nodes/main/status?method=port").await.json;
    assert_eq!(port["status"], true);
    assert_eq!(port["details"]["message"], "Port is in use");
    assert_eq!(port["details"]["listener"]["pid"], wallet.pid());

    let api = warden.get("/nodes/main/status?method=api").await.json;
    assert_like(&api, &example("node-status-api-up"), &[]);
    assert_eq!(api["details"]["version"], VERSION);
    assert_eq!(api["details"]["message"], "API is responding");

    let full = warden.get("/nodes/main/status").await.json;
    assert_eq!(full["status"], true);
    assert_eq!(full["details"]["method"], "full");
    assert_eq!(full["details"]["message"], "Process is fully operational");
    assert_eq!(
        full["details"]["summary"],
        json!({"pid_alive": true, "port_in_use": true, "api_responding": true})
    );

    let up = becomes(&warden, "main", "up", None).await;
    assert_eq!((&up["status"], &up["method"]), (&json!(true), &json!("api")));
    let health = warden.get("/health").await;
    assert_eq!((health.status, &health.json["status"]), (200, &json!("healthy")));
    assert_eq!(warden.get("/nodes/main/health").await.status, 200);
}

#[tokio::test]
async fn both_requests_of_a_login_and_all_later_checks_use_one_connection() {
    let wallet = Wallet::start_login("user:pa:ss").await;
    let warden = watching(node_with(
        "login",
        wallet.port(),
        json!({"username": "user", "password": "pa:ss"}),
    ))
    .await;
    becomes(&warden, "login", "up", None).await;

    let first = shown(&warden, "login").await["last_check"].clone();
    let connections = kernel::peers_of(warden.pid(), wallet.port());
    assert_eq!(connections.len(), 1, "{connections:?}");
    // Several passes later (the shown time has whole seconds) and after live checks it is still the same one.
    warden
        .until("/nodes/status", SOON, |answer| {
            let node = &answer.json["nodes"][0];
            (node["last_check"] != first && node["state"] == "up").then_some(())
        })
        .await;
    live(&warden, "login", "api", true, None).await;
    assert_eq!(kernel::peers_of(warden.pid(), wallet.port()), connections);
}

#[tokio::test]
async fn a_plain_server_is_asked_over_one_connection_as_well() {
    let wallet = Wallet::start().await;
    let warden = watching(node("plain", wallet.port())).await;
    becomes(&warden, "plain", "up", None).await;
    let connections = kernel::peers_of(warden.pid(), wallet.port());
    assert_eq!(connections.len(), 1, "{connections:?}");
    let first = shown(&warden, "plain").await["last_check"].clone();
    warden
        .until("/nodes/status", SOON, |answer| {
            (answer.json["nodes"][0]["last_check"] != first).then_some(())
        })
        .await;
    // All at once: one request in flight, the others wait for the same connection or the same run.
    let asks: Vec<_> = (0..20)
        .map(|i| {
            let method = if i % 2 == 0 { "api" } else { "full" };
            let path = format!("/nodes/plain/status?method={method}");
            tokio::spawn(warden.request(reqwest::Method::GET, &path).send())
        })
        .collect();
    for ask in asks {
        let answer: Value = ask.await.unwrap().unwrap().json().await.unwrap();
        assert!(answer["details"]["summary"]["port_in_use"].as_bool().unwrap_or(true));
        assert_eq!(answer["status"], true, "{answer:#}");
    }
    // `full` looks at the port with a connection of its own, which it closes.
    eventually(SOON, || {
        let seen = kernel::peers_of(warden.pid(), wallet.port());
        let expected = connections.clone();
        async move { if seen == expected { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}")) } }
    })
    .await;
}

#[tokio::test]
async fn refused_credentials_are_unauthorized() {
    let wallet = Wallet::start_login("user:right").await;
    let config = WardenConfig::default()
        .node(node_with(
            "wrong",
            wallet.port(),
            json!({"username": "user", "password": "not-this-one"}),
        ))
        .node(node("none", wallet.port()));
    let warden = Warden::start(config).await;

    for name in ["wrong", "none"] {
        becomes(&warden, name, "down", Some("unauthorized")).await;
        let details = live(&warden, name, "api", false, Some("unauthorized")).await;
        assert_eq!(details["message"], "API returned error");
        assert_eq!(details["status_code"], 401);
        assert_eq!(warden.get(&format!("/nodes/{name}/health")).await.status, 503);
    }

    // The right one is taken at once, without a restart, on a new connection.
    let answer = warden.patch("/nodes/wrong", &json!({"password": "right"})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.json);
    becomes(&warden, "wrong", "up", None).await;
}

#[tokio::test]
async fn no_password_is_ever_shown() {
    let wallet = Wallet::start_login("user:s3cret-of-the-process").await;
    let warden = watching(node_with(
        "login",
        wallet.port(),
        json!({"username": "user", "password": "s3cret-of-the-process", "pid": wallet.pid()}),
    ))
    .await;
    becomes(&warden, "login", "up", None).await;
    let full = warden.get("/nodes/login/status").await.json;
    let cmdline = full["details"]["checks"]["pid"]["details"]["cmdline"].as_str().unwrap();
    assert!(cmdline.contains("--rpc-login user:***"), "{cmdline}");

    let mut texts = vec![full.to_string(), warden.log()];
    for path in ["/nodes", "/nodes/login", "/nodes/status", "/nodes/status?method=full"] {
        texts.push(warden.get(path).await.json.to_string());
    }
    for args in [&["nodes", "list", "--output", "json"][..], &["status", "--output", "json"]] {
        let output = warden.cli(args);
        texts.push(String::from_utf8_lossy(&output.stdout).into_owned());
        texts.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    for text in texts {
        assert!(!text.contains("s3cret"), "{text}");
    }
}
