//! Refusals: problem+json with a stable code, and the same words for clients of the earlier API.

use reqwest::Method;
use serde_json::json;

use crate::nodes::node;
use crate::support::shape::{assert_like, example};
use crate::support::{Answer, Warden, WardenConfig};

/// The whole form of a refusal.
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    let body = &answer.json;
    assert_eq!(answer.status, status, "{body:#}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{body:#}");
    assert_like(body, &example("error-400"), &[]);
    assert_eq!(body["status"], status);
    assert_eq!(body["success"], false);
    assert_eq!(body["error"], body["detail"], "the same words twice");
    if !code.is_empty() {
        assert_eq!(body["code"], code, "{body:#}");
    }
}

#[tokio::test]
async fn a_bad_parameter_is_named_with_what_is_allowed() {
    let warden = Warden::start(WardenConfig::default().node(node("n", 18_082))).await;
    let answer = warden.get("/nodes/n/status?method=foo").await;
    assert_problem(&answer, 400, "invalid_parameter");
    assert_eq!(answer.json["detail"], example("error-400")["detail"], "the words of the example");
    for (path, words) in [
        ("/nodes/status?method=API", &["method", "pid, port, api, full"][..]),
        ("/migrations?limit=0", &["limit"]),
        ("/migrations?limit=-1", &["limit"]),
        ("/migrations?limit=ten", &["limit"]),
        ("/migrations?after=x", &["after"]),
        ("/migrations?brz_project_id=abc", &["brz_project_id"]),
        ("/migrations/abc", &["abc"]),
        ("/migrations/0", &["0"]),
        ("/migrations/9007199254740992", &["9007199254740992"]),
    ] {
        let answer = warden.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {:#}", answer.json);
        assert_problem(&answer, 400, "invalid_parameter");
        for word in words {
            assert!(
                answer.json["detail"].as_str().unwrap().contains(word),
                "{path}: {:#}",
                answer.json
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_in_the_same_form() {
    let warden = Warden::start(WardenConfig::default()).await;
    for path in [
        "/nodes/nobody/status",
        "/nodes/nobody",
        "/nodes/nobody/health",
        "/nodes/17",
        "/nodes/99999999999999999999999",
        "/migrations/17",
        "/migrations/17/process",
        "/no/such/route",
        "/nodes/",
        "/%2e%2e/etc/passwd",
    ] {
        let answer = warden.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {:#}", answer.json);
        assert_problem(&answer, 404, "");
    }
    assert_problem(&warden.patch("/migrations/17", &json!({"status": "completed"})).await, 404, "");
    assert_problem(&warden.delete("/migrations/17/lock").await, 404, "");
}

#[tokio::test]
async fn a_wrong_method_says_which_are_right() {
    let warden = Warden::start(WardenConfig::default().node(node("n", 18_082))).await;
    for (method, path, allowed) in [
        (Method::DELETE, "/nodes/status", "GET"),
        (Method::POST, "/health", "GET"),
        (Method::PUT, "/livez", "HEAD"),
        (Method::DELETE, "/readyz", "OPTIONS"),
        (Method::POST, "/nodes/n/health", "GET"),
        (Method::PUT, "/nodes", "POST"),
        (Method::PUT, "/nodes/n", "PATCH"),
        (Method::POST, "/migrations", "GET"),
        (Method::GET, "/migrations/17/lock", "DELETE"),
    ] {
        let answer =
            warden.send(warden.request(method.clone(), path).bearer_auth("test-token")).await;
        assert_eq!(answer.status, 405, "{method} {path}: {:#}", answer.json);
        assert_problem(&answer, 405, "");
        assert!(answer.header("allow").contains(allowed), "{method} {path}: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn bodies_that_are_none() {
    let warden = Warden::start(WardenConfig::default()).await;
    let post = || warden.request(Method::POST, "/nodes").bearer_auth("test-token");
    let json = "application/json";

    let not_json = warden.send(post().header("content-type", json).body("{")).await;
    assert_problem(&not_json, 400, "");
    let wrong_type = warden.send(post().header("content-type", json).body("[1]")).await;
    assert_problem(&wrong_type, 400, "");
    let text = warden.send(post().header("content-type", "text/plain").body("{}")).await;
    assert_problem(&text, 415, "");
    // Just over the limit: what a server never reads may cost the client its answer.
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(64 * 1024));
    let too_large = warden.send(post().header("content-type", json).body(huge)).await;
    assert_problem(&too_large, 413, "");
    let charset = post().header("content-type", "application/json; charset=utf-8");
    let fine = warden.send(charset.body(node("n", 1).to_string())).await;
    assert_eq!(fine.status, 201, "{:#}", fine.json);
    let duplicate = warden.post("/nodes", &node("n", 1)).await;
    assert_problem(&duplicate, 409, "");
    let report = warden.patch("/migrations/17", &json!({"status": "pending"})).await;
    assert_problem(&report, 400, "");
}
