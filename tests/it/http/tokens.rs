//! Who may write, and who may read where that is guarded.

use reqwest::Method;
use serde_json::json;

use crate::nodes::node;
use crate::support::{Answer, Warden, WardenConfig};

const WRITES: [(Method, &str); 5] = [
    (Method::POST, "/nodes"),
    (Method::PATCH, "/nodes/n"),
    (Method::DELETE, "/nodes/n"),
    (Method::PATCH, "/migrations/1"),
    (Method::DELETE, "/migrations/1/lock"),
];

async fn write(warden: &Warden, method: &Method, path: &str, auth: Option<&str>) -> Answer {
    let mut request = warden.request(method.clone(), path).json(&json!({"status": "completed"}));
    if let Some(auth) = auth {
        request = request.header("authorization", auth);
    }
    warden.send(request).await
}

#[tokio::test]
async fn a_write_needs_the_token() {
    let warden = Warden::start(WardenConfig::default().node(node("n", 18_082))).await;
    for (method, path) in &WRITES {
        for auth in [
            None,
            Some("Bearer wrong"),
            Some("Bearer "),
            Some("Bearer test-tokenx"),
            Some("Bearer test-toke"),
            Some("Basic dGVzdC10b2tlbg=="),
            Some("test-token"),
        ] {
            let answer = write(&warden, method, path, auth).await;
            assert_eq!(answer.status, 401, "{method} {path} {auth:?}: {:#}", answer.json);
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert!(
                answer.header("www-authenticate").starts_with("Bearer"),
                "{:?}",
                answer.headers
            );
        }
    }
    assert_eq!(warden.get("/nodes/n").await.status, 200, "reads are open, and nothing was removed");
    let lower = write(&warden, &Method::PATCH, "/nodes/n", Some("bearer test-token")).await;
    assert_ne!(lower.status, 401, "the scheme has no case");
}

#[tokio::test]
async fn without_a_configured_token_nobody_writes() {
    let config = WardenConfig::default().unset("server.token").node(node("n", 18_082));
    let warden = Warden::start(config).await;
    for (method, path) in &WRITES {
        for auth in [None, Some("Bearer "), Some("Bearer test-token")] {
            let answer = write(&warden, method, path, auth).await;
            assert_eq!(answer.status, 403, "{method} {path}: {:#}", answer.json);
            assert_eq!(answer.json["code"], "writes_disabled");
        }
    }
    assert_eq!(warden.get("/nodes/status").await.status, 200);
}

#[tokio::test]
async fn reads_are_guarded_where_that_is_wanted_and_health_never_is() {
    let config = WardenConfig::default().set("server.read_token", "reader").node(node("n", 18_082));
    let warden = Warden::start(config).await;
    for path in ["/nodes/status", "/nodes", "/nodes/n/status?method=pid", "/migrations"] {
        assert_eq!(warden.get(path).await.status, 401, "{path}");
        let read = warden.send(warden.request(Method::GET, path).bearer_auth("reader")).await;
        assert_eq!(read.status, 200, "{path}");
        let write = warden.send(warden.request(Method::GET, path).bearer_auth("test-token")).await;
        assert_eq!(write.status, 200, "{path}: who may write may read");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(warden.get(path).await.status, 200, "{path}");
    }
    assert_eq!(warden.get("/health").await.status, 503, "its one node is down or not yet checked");
    let answer =
        warden.send(warden.request(Method::DELETE, "/nodes/n").bearer_auth("reader")).await;
    assert_eq!(answer.status, 401, "reading is not writing");
}
