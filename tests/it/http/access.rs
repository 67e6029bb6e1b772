//! Who may read without a token: by where is listened, who asks and which way the request came.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::nodes::node;
use crate::support::{Answer, Warden, WardenConfig};

/// Everything that is read.
const READS: [&str; 9] = [
    "/nodes",
    "/nodes/status",
    "/nodes/status?method=pid",
    "/nodes/n",
    "/nodes/n/status?method=pid",
    "/nodes/n/history",
    "/migrations",
    "/instances",
    "/metrics",
];

/// What is never guarded, with its codes while the one node is down.
const OPEN: [(&str, u16); 6] = [
    ("/health", 503),
    ("/livez", 200),
    ("/readyz?verbose", 200),
    ("/nodes/n/health", 503),
    ("/openapi.yaml", 200),
    ("/", 200),
];

fn config() -> WardenConfig {
    WardenConfig::default().node(node("n", 1)).set("nodes.interval", "1h")
}

async fn read(warden: &Warden, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = warden.request(Method::GET, path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    warden.send(request).await
}

async fn started(config: WardenConfig) -> Warden {
    let warden = Warden::start(config).await;
    // By a route that is open to all.
    let is_down = |answer: &Answer| (answer.json["state"] == "down").then_some(());
    warden.until("/nodes/n/health", super::SOON, is_down).await;
    warden
}

/// Over TCP from this address of this machine, where the server listens on every one.
async fn from(warden: &Warden, source: [u8; 4], path: &str, headers: &[(&str, &str)]) -> Answer {
    let client = reqwest::Client::builder().no_proxy().local_address(IpAddr::from(source));
    let mut request = client.build().unwrap().get(warden.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    warden.send(request).await
}

#[tokio::test]
async fn a_loopback_address_is_open_to_direct_requests_alone() {
    let warden = started(config().unset("server.token")).await;
    for path in READS {
        assert_eq!(read(&warden, path, &[]).await.status, 200, "{path}");
    }
    for header in [
        ("Forwarded", "for=192.0.2.7"),
        ("forwarded", ""),
        ("X-Forwarded-For", "127.0.0.1"),
        ("x-forwarded-host", "example.org"),
        ("X-FORWARDED-PROTO", "https"),
        ("X-Forwarded-Anything", ""),
        ("X-Real-IP", "192.0.2.7"),
        ("Via", "1.1 proxy"),
    ] {
        for path in READS {
            let refused = read(&warden, path, &[header]).await;
            assert_eq!(refused.status, 401, "{path} {header:?}: {refused:?}");
            assert_eq!(refused.json["code"], "unauthorized", "{path} {header:?}");
            assert_eq!(refused.header("www-authenticate"), "Bearer");
            let detail = refused.json["detail"].as_str().unwrap();
            for word in
                [header.0.to_lowercase().as_str(), "server.trusted_proxies", "server.read_token"]
            {
                assert!(detail.contains(word), "{word} in {detail}");
            }
        }
        for (path, code) in OPEN {
            assert_eq!(read(&warden, path, &[header]).await.status, code, "{path} {header:?}");
        }
    }
    for (path, _) in [("/events", ""), ("/adopt/report", ""), ("/migrations/7/process", "")] {
        let refused = read(&warden, path, &[("x-forwarded-for", "192.0.2.7")]).await;
        assert_eq!(refused.status, 401, "{path}");
    }
}

#[tokio::test]
async fn any_other_address_asks_for_a_token() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let warden = started(config().set("server.listen", listen)).await;
        for path in READS {
            let refused = read(&warden, path, &[]).await;
            assert_eq!(refused.status, 401, "{listen} {path}");
            let shown = read(&warden, path, &[("authorization", "Bearer test-token")]).await;
            assert_eq!(shown.status, 200, "{listen} {path}: who may write may read");
        }
        for (path, code) in OPEN {
            assert_eq!(read(&warden, path, &[]).await.status, code, "{listen} {path}");
        }
        assert!(warden.log().contains("server.listen is"), "it is warned of: {}", warden.log());
    }
}

#[tokio::test]
async fn without_any_token_it_is_said_what_to_set() {
    let config = config().unset("server.token").set("server.listen", "0.0.0.0:0");
    let warden = started(config).await;
    let refused = read(&warden, "/nodes", &[]).await;
    assert_eq!(refused.status, 401);
    let detail = refused.json["detail"].as_str().unwrap();
    for word in ["server.read_token", "server.trusted_proxies", "server.open_reads"] {
        assert!(detail.contains(word), "{word} in {detail}");
    }
    let write = warden.request(Method::POST, "/nodes").json(&json!({"name": "x", "port": 1}));
    assert_eq!(warden.send(write).await.status, 403);
}

#[tokio::test]
async fn ipv6_is_as_ipv4() {
    // Without IPv6 there is nothing to be shown here.
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let warden = {
        let mut warden =
            Warden::prepare(config().unset("server.token").set("server.listen", "[::1]:0"));
        warden.launch();
        warden
    };
    let url = |path: &str| format!("http://[::1]:{}{path}", warden.port());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: &str, header: &str| {
        let request = client.get(url(path));
        if header.is_empty() { request } else { request.header(header, "::1") }
    };
    crate::support::eventually(super::SOON, || async {
        match get("/readyz", "").send().await {
            Ok(answer) if answer.status() == 200 => Ok(()),
            other => Err(format!("{other:?}; {}", warden.log())),
        }
    })
    .await;
    assert_eq!(get("/nodes", "").send().await.unwrap().status(), 200);
    assert_eq!(get("/nodes", "x-forwarded-for").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_trusted_proxy_reads_for_its_clients_and_nobody_else_does() {
    let config = config()
        .set("server.listen", "0.0.0.0:0")
        .set("server.read_token", "reader")
        .set("server.trusted_proxies", json!(["127.0.0.2", "127.0.3.0/24"]));
    let warden = started(config).await;
    let forwarded = [("x-forwarded-for", "192.0.2.7")];
    for source in [[127, 0, 0, 2], [127, 0, 3, 77]] {
        for path in READS {
            assert_eq!(from(&warden, source, path, &forwarded).await.status, 200, "{path}");
            assert_eq!(from(&warden, source, path, &[]).await.status, 200, "{path}");
        }
    }
    for source in [[127, 0, 0, 1], [127, 0, 0, 3], [127, 0, 4, 1]] {
        for path in READS {
            // What the header says is not believed of anybody.
            let claim =
                [("x-forwarded-for", "127.0.0.2"), ("forwarded", "for=127.0.0.2;by=127.0.0.2")];
            assert_eq!(from(&warden, source, path, &claim).await.status, 401, "{source:?} {path}");
            assert_eq!(from(&warden, source, path, &[]).await.status, 401, "{source:?} {path}");
        }
    }
    // It reads; a write needs the token from there as well.
    let client = reqwest::Client::builder().no_proxy().local_address(IpAddr::from([127, 0, 0, 2]));
    let delete = client.build().unwrap().delete(warden.url("/nodes/n"));
    assert_eq!(warden.send(delete).await.status, 401);
}

#[tokio::test]
async fn reads_may_be_opened_to_all() {
    let config = config().set("server.listen", "0.0.0.0:0").set("server.open_reads", true);
    let warden = started(config).await;
    for path in READS {
        assert_eq!(read(&warden, path, &[]).await.status, 200, "{path}");
        assert_eq!(read(&warden, path, &[("forwarded", "for=_a")]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn two_tokens_hold_at_once_and_come_from_where_they_are_kept() {
    let hash = Sha256::digest("hashed-one")
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let config = config()
        .set("server.token", json!([format!("sha256:{hash}"), "env:WARDEN_WRITER"]))
        .set("server.read_token", json!(["file:reader.token", "plain,with-comma"]))
        .env("WARDEN_WRITER", "from-environment");
    let mut warden = Warden::prepare(config);
    let file = warden.dir().join("reader.token");
    fs::write(&file, "from-file\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    warden.launch();
    warden.ready().await;
    let warden = &warden;
    let code = |method: Method, token: &'static str| {
        let request = warden.request(method, "/nodes").json(&json!({"name": token, "port": 1}));
        let request = request.bearer_auth(token);
        async move { warden.send(request).await.status }
    };
    for token in ["from-file", "plain,with-comma"] {
        assert_eq!(code(Method::GET, token).await, 200, "{token}");
        assert_eq!(code(Method::POST, token).await, 401, "{token}");
    }
    for token in ["hashed-one", "from-environment"] {
        assert_eq!(code(Method::GET, token).await, 200, "{token}");
        assert_eq!(code(Method::POST, token).await, 201, "{token}");
    }
    for token in ["file:reader.token", "env:WARDEN_WRITER", "plain", "from-file\\n", "sha256:"] {
        assert_eq!(code(Method::GET, token).await, 401, "{token}");
    }
    let hashed = format!("sha256:{hash}");
    for token in [hash, hashed] {
        let request = warden.request(Method::GET, "/nodes").bearer_auth(token);
        assert_eq!(warden.send(request).await.status, 401, "the hash is not the token");
    }
    let shown = String::from_utf8(warden.cli(&["check-config"]).stdout).unwrap();
    for secret in ["from-file", "from-environment", "with-comma", "hashed-one"] {
        assert!(!shown.contains(secret) && !warden.log().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_session_lives_as_long_as_its_token() {
    let config = config().set("server.read_token", json!(["old-reader", "new-reader"]));
    let mut warden = Warden::start(config).await;
    let mut cookies = Vec::new();
    for token in ["old-reader", "new-reader"] {
        let request = warden.request(Method::POST, "/session").json(&json!({"token": token}));
        let answer = warden.send(request).await;
        assert_eq!(answer.status, 204);
        cookies.push(answer.header("set-cookie").split(';').next().unwrap().to_owned());
    }
    let reads = |warden: &Warden| -> Vec<_> {
        let read = |cookie| warden.request(Method::GET, "/nodes").header("cookie", cookie);
        cookies.iter().map(read).collect()
    };
    for request in reads(&warden) {
        assert_eq!(warden.send(request).await.status, 200);
    }
    // The new one by its hash: sessions go on; those of the old one end with it.
    let hash = Sha256::digest("new-reader")
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    warden.reconfigure(|config| config.set("server.read_token", format!("sha256:{hash}")));
    warden.restart().await;
    let mut seen = Vec::new();
    for request in reads(&warden) {
        seen.push(warden.send(request).await.status);
    }
    assert_eq!(seen, [401, 200]);
}

#[tokio::test]
async fn the_likely_cause_is_for_readers_alone() {
    let mut warden =
        Warden::prepare(WardenConfig::default().set("migrations.lock_dir", "/no/such/place"));
    warden.launch();
    warden.ready().await;
    let trouble = |answer: &Answer| answer.json["components"].get("migrations_trouble").cloned();
    let told = warden.until("/readyz?verbose", super::SOON, trouble).await;
    assert!(told.as_str().unwrap().contains("/no/such/place"), "{told}");
    let proxied = read(&warden, "/readyz?verbose", &[("x-forwarded-for", "192.0.2.7")]).await;
    assert_eq!(trouble(&proxied), None);
    assert_ne!(proxied.json["components"], Value::Null, "counts and states are told to all");
    let token = ("authorization", "Bearer test-token");
    let shown = read(&warden, "/readyz?verbose", &[("via", "1.1 x"), token]).await;
    assert_eq!(trouble(&shown), Some(told));
}
