//! Servers that answer anything but the right thing: each gets a verdict with its reason, in time.

use super::{SOON, find, node};
use crate::support::fake::{Manner, serve};
use crate::support::{Warden, WardenConfig};

fn cases() -> Vec<(&'static str, Manner, &'static [&'static str])> {
    let json = |body: &str| Manner::answers("200 OK", body);
    vec![
        ("noise", Manner::Says(vec![0, 159, 146, 150, 13, 10, 13, 10]), &["not_json_rpc", "io"]),
        ("banner", Manner::Says(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), &["not_json_rpc", "io"]),
        ("five-hundred", Manner::answers("500 Internal Server Error", "{}"), &["http_status"]),
        ("moved", Manner::answers("302 Found", ""), &["http_status"]),
        ("html", json("<html>hello</html>"), &["not_json_rpc"]),
        ("empty", json(""), &["not_json_rpc"]),
        (
            "other-id",
            json(r#"{"jsonrpc":"2.0","id":"somebody-else's","result":{"version":65561}}"#),
            &["not_json_rpc"],
        ),
        (
            "rpc-error",
            json(r#"{"jsonrpc":"2.0","id":"0","error":{"code":-32601,"message":"Method not found"}}"#),
            &["rpc_error", "not_json_rpc"],
        ),
        (
            "text-version",
            json(r#"{"jsonrpc":"2.0","id":"0","result":{"version":"65561"}}"#),
            &["not_json_rpc"],
        ),
        ("closes", Manner::Closes, &["io"]),
        (
            "half-a-head",
            Manner::SaysAndHolds(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
            &["api_timeout"],
        ),
        (
            "half-a-body",
            Manner::SaysAndHolds(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{".to_vec()),
            &["api_timeout"],
        ),
        (
            "cut-body",
            Manner::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{".to_vec()),
            &["io"],
        ),
        ("endless", Manner::Endless, &["api_timeout", "not_json_rpc"]),
        (
            "endless-head",
            Manner::SaysAndHolds(
                [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Filler: yes\r\n".repeat(100_000)].concat(),
            ),
            &["api_timeout", "not_json_rpc", "io"],
        ),
        ("silent", Manner::Silent, &["api_timeout"]),
        (
            "basic-only",
            Manner::Says(
                b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            ),
            &["unauthorized"],
        ),
    ]
}

#[tokio::test]
async fn every_wrong_answer_gets_its_reason_in_time() {
    let mut config = WardenConfig::default()
        .set("nodes.api_timeout", "1s")
        // None of these processes is a wallet server: only the API is asked.
        .set("nodes.method", "api");
    let cases = cases();
    for (name, manner, _) in &cases {
        config = config.node(node(name, serve(manner.clone())));
    }
    let warden = Warden::start(config).await;
    let nodes = warden
        .until("/nodes/status", SOON, |answer| {
            let nodes = answer.json["nodes"].as_array()?;
            nodes.iter().all(|node| node["state"] == "down").then(|| answer.json["nodes"].clone())
        })
        .await;
    for (name, _, reasons) in &cases {
        let node = find(&nodes, name);
        let reason = node["reason"].as_str().unwrap_or("none");
        assert!(reasons.contains(&reason), "{name}: {reason} is none of {reasons:?}");
        let live = warden.get(&format!("/nodes/{name}/status?method=api")).await.json;
        assert_eq!(live["status"], false, "{name}");
        assert!(live["details"]["message"].as_str().unwrap().starts_with("API "), "{live:#}");
    }
    // What they sent is not kept: the record of each is short.
    let text = warden.get("/nodes/status").await.body;
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());
}
