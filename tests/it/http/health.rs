//! The routes that load balancers ask: every method of theirs, HTTP/1.0, nothing cached.

use reqwest::Method;
use serde_json::json;

use super::SOON;
use crate::nodes::{becomes, node};
use crate::support::raw::{code, exchange};
use crate::support::{Warden, WardenConfig, ports};

const PATHS: [&str; 4] = ["/health", "/livez", "/readyz", "/nodes/n/health"];

async fn with_a_node_down() -> Warden {
    let warden = Warden::start(WardenConfig::default().node(node("n", ports::free_port()))).await;
    becomes(&warden, "n", "down", Some("port_closed")).await;
    warden
}

#[tokio::test]
async fn get_head_and_options_agree() {
    let warden = with_a_node_down().await;
    for path in PATHS {
        let expected = if path.ends_with("health") { 503 } else { 200 };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let answer = warden.send(warden.request(method.clone(), path)).await;
            assert_eq!(answer.status, expected, "{method} {path}");
            assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
            assert_eq!(
                !answer.header("retry-after").is_empty(),
                expected == 503,
                "{method} {path}"
            );
            if method == Method::HEAD {
                assert!(answer.body.is_empty(), "{path}");
            }
            // A preflight would ask this way; it gets no other answer.
            let preflight = warden
                .request(method.clone(), path)
                .header("origin", "https://dashboard.example")
                .header("access-control-request-method", "GET");
            assert_eq!(warden.send(preflight).await.status, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn http_1_0_and_the_bare_options_of_haproxy() {
    let warden = with_a_node_down().await;
    for path in PATHS {
        let expected = if path.ends_with("health") { 503 } else { 200 };
        for method in ["GET", "HEAD", "OPTIONS"] {
            let answer =
                exchange(warden.port(), &format!("{method} {path} HTTP/1.0\r\n\r\n"), SOON);
            assert_eq!(code(&answer), expected, "{method} {path}: {answer}");
        }
    }
    // What `option httpchk` sends: it means the health of the whole.
    let answer = exchange(warden.port(), "OPTIONS / HTTP/1.0\r\n\r\n", SOON);
    assert_eq!(code(&answer), 503, "{answer}");
    assert!(answer.to_lowercase().contains("cache-control: no-store"), "{answer}");
    warden.delete("/nodes/n").await;
    warden.until("/health", SOON, |answer| (answer.status == 200).then_some(())).await;
    assert_eq!(code(&exchange(warden.port(), "OPTIONS / HTTP/1.0\r\n\r\n", SOON)), 200);
}

#[tokio::test]
async fn queries_and_slashes_do_not_change_what_health_is() {
    let warden = with_a_node_down().await;
    for path in ["/health?", "/health?x=1", "/health?scope=fleet", "/health?scope=instance"] {
        let answer = warden.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.json["total"], 1, "{path}");
    }
    assert_eq!(warden.get("/readyz?verbose").await.status, 200);
    assert_eq!(warden.get("/readyz?require=database").await.status, 200);
    assert_eq!(warden.get("/livez?verbose").await.status, 200);
}

#[tokio::test]
async fn a_keep_alive_connection_serves_health_and_routes_alike() {
    let warden = with_a_node_down().await;
    let host = "Host: 127.0.0.1\r\n";
    let requests = format!(
        "GET /livez HTTP/1.1\r\n{host}\r\nGET /nodes/status HTTP/1.1\r\n{host}\r\nGET /health HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    );
    let answer = exchange(warden.port(), &requests, SOON);
    let codes: Vec<&str> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(codes, ["200", "200", "503"], "{answer}");
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_cut_and_hinders_nobody() {
    let warden = with_a_node_down().await;
    let port = warden.port();
    let slow = tokio::task::spawn_blocking(move || {
        // Either nothing or a 408, then the end: `exchange` fails if the server just waits.
        exchange(port, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ", SOON * 3)
    });
    assert_eq!(warden.get("/livez").await.status, 200);
    let answer = slow.await.unwrap();
    assert!(answer.is_empty() || code(&answer) == 408, "{answer}");
}

#[tokio::test]
async fn the_body_is_a_summary_and_nothing_more() {
    let warden = with_a_node_down().await;
    let body = warden.get("/health").await.json;
    assert_eq!(body, json!({"status": "degraded", "working": 0, "total": 1}));
    let head = exchange(warden.port(), "GET /health HTTP/1.0\r\n\r\n", SOON).to_lowercase();
    assert!(!head.contains("location:") && !head.contains("server:"), "{head}");
}
