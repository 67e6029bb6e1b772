//! nginx before both: who answers what, with the files of `deploy/` as they are.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::migrations::{SOON, long_grace, wait};
use crate::nodes::{becomes, node};
use crate::support::fake::{self, Manner};
use crate::support::job::{self, Lock};
use crate::support::nginx::{Nginx, Php, deployed, upstream};
use crate::support::program::Program;
use crate::support::{Answer, Warden, WardenConfig, eventually, kernel, ports};

/// A site that does to its own pages what must not be done to ours.
const SITE: &str = "
    gzip on;
    gzip_min_length 1;
    gzip_proxied any;
    gzip_types application/json application/problem+json text/event-stream;
    proxy_cache_path cache keys_zone=site:1m;
    proxy_cache site;
    proxy_cache_valid any 1h;
    proxy_ignore_headers Cache-Control Expires;
    proxy_intercept_errors on;
    error_page 404 500 502 503 504 /oops.html;
    expires 1h;";

/// What is read, and the answer's code.
const OURS: [(&str, u16); 20] = [
    ("/health", 503),
    ("/health?scope=fleet", 503),
    ("/api/admin/monero/health", 503),
    ("/nodes/status", 200),
    ("/api/admin/monero/nodes/status", 200),
    ("/api/admin/monero/nodes/status?method=pid", 200),
    ("/nodes/n/status", 200),
    ("/api/admin/monero/nodes/1/status", 200),
    ("/api/admin/monero/nodes/n/status?method=port", 200),
    ("/api/admin/monero/nodes/n%20o/status", 404),
    ("/api/admin/monero/nodes/n/health", 503),
    ("/migrations", 200),
    ("/dashboard/api/migrations", 200),
    ("/dashboard/api/migrations?status=in_progress&limit=5", 200),
    ("/migrations/7", 200),
    ("/dashboard/api/migrations/7", 200),
    ("/dashboard/api/migrations/7/status", 200),
    ("/dashboard/api/migrations/7/process", 200),
    ("/migrations/7/process", 200),
    ("/dashboard/api/migrations/8", 404),
];

/// What stays with PHP, whatever the method.
const THEIRS: [&str; 24] = [
    "/",
    "/index.php",
    "/login",
    "/dashboard",
    "/dashboard/api/auth/login",
    "/dashboard/api/health",
    "/dashboard/api/nodes/status",
    "/dashboard/api/migrations/",
    "/dashboard/api/migrations/run",
    "/dashboard/api/migrations/7/run",
    "/dashboard/api/migrations/7/kill",
    "/dashboard/api/migrations/7/reset",
    "/dashboard/api/migrations/7/lock",
    "/dashboard/api/migrations/7/logs",
    "/dashboard/api/migrations/7/status/x",
    "/dashboard/api/migrations/7.php",
    "/dashboard/api/migrations_mapping",
    "/api/admin/monero/migrations",
    "/api/admin/monero/nodes",
    "/api/admin/monero/nodes/1",
    "/api/admin/monero/nodes/1/2/status",
    "/api/admin/monero/healthy",
    "/api/health",
    "/login?/health",
];

struct Front {
    nginx: Nginx,
    php: Php,
    warden: Warden,
    _job: Program,
}

impl Front {
    /// A node that is down and a migration that runs, behind nginx.
    async fn start(site: &str) -> Self {
        let config = long_grace()
            .set("server.base_paths", json!(["/api/admin/monero", "/dashboard/api"]))
            .set("server.trusted_proxies", json!(["127.0.0.1"]))
            .node(node("n", ports::free_port()));
        let warden = Warden::start(config).await;
        let job = Program::sleeper(warden.dir());
        Lock::new(7, job.pid()).write(&warden.lock_dir());
        wait(&warden, 7, "in_progress alive - run1").await;
        becomes(&warden, "n", "down", Some("port_closed")).await;
        let php = Php::start();
        let nginx = Nginx::start(warden.port(), php.port(), site);
        Self { nginx, php, warden, _job: job }
    }

    async fn ask(&self, method: &Method, path: &str) -> Answer {
        self.nginx.send(self.nginx.request(method.clone(), path)).await
    }

    fn is_ours(&self, answer: &Answer) -> bool {
        upstream(answer) == format!("127.0.0.1:{}", self.warden.port())
    }

    fn is_theirs(&self, answer: &Answer) -> bool {
        upstream(answer) == format!("127.0.0.1:{}", self.php.port())
            && answer.header("x-answered-by") == "php"
    }
}

const READS: [Method; 2] = [Method::GET, Method::HEAD];
const OTHERS: [Method; 5] =
    [Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

#[tokio::test]
async fn what_is_read_of_ours_is_ours_and_all_the_rest_is_phps() {
    let front = Front::start("").await;
    for (path, code) in OURS {
        for method in READS {
            let answer = front.ask(&method, path).await;
            assert!(front.is_ours(&answer), "{method} {path}: {answer:?}");
            assert_eq!(answer.status, code, "{method} {path}: {:#}", answer.json);
            assert_ne!(answer.json["code"], "unknown_route", "{method} {path}");
            assert_eq!(answer.body.is_empty(), method == Method::HEAD, "{method} {path}");
        }
        for method in OTHERS {
            let answer = front.ask(&method, path).await;
            assert!(front.is_theirs(&answer), "{method} {path}: {answer:?}");
        }
    }
    for path in THEIRS {
        for method in READS.iter().chain(&OTHERS) {
            let answer = front.ask(method, path).await;
            assert!(front.is_theirs(&answer), "{method} {path}: {answer:?}");
        }
    }
    // Nobody comes in by the inner names.
    for path in ["/.procwarden/answers", "/.procwarden/events"] {
        let answer = front.ask(&Method::GET, path).await;
        assert_eq!((answer.status, upstream(&answer)), (404, ""), "{path}");
    }
}

#[tokio::test]
async fn an_event_comes_through_as_it_happens() {
    let front = Front::start(SITE).await;
    for path in ["/events", "/api/admin/monero/events", "/dashboard/api/events"] {
        assert!(front.is_ours(&front.ask(&Method::HEAD, path).await), "{path}");
        assert!(front.is_theirs(&front.ask(&Method::POST, path).await), "{path}");
    }
    let request = front.nginx.request(Method::GET, "/dashboard/api/events");
    let mut stream = request.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(stream.headers()["cache-control"], "no-store");
    assert!(stream.headers().get("content-encoding").is_none(), "{:?}", stream.headers());
    let mut text = String::new();
    for wanted in [": what happens from here on", "event: migration"] {
        while !text.contains(wanted) {
            let chunk = tokio::time::timeout(SOON, stream.chunk()).await.expect(wanted);
            text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
        let body = json!({"status": "success", "mb_project_uuid": job::uuid(9)});
        assert_eq!(front.warden.patch("/migrations/9", &body).await.status, 200);
    }
    assert!(text.contains("\nid: test-1:"), "{text}");
}

#[tokio::test]
async fn what_php_gets_is_as_it_was_sent() {
    let front = Front::start("").await;
    let path = "/dashboard/api/migrations/7/kill?force=1&x=%2F";
    let request = front
        .nginx
        .request(Method::POST, path)
        .header("cookie", "PHPSESSID=abc")
        .header("x-dashboard-session", "s-1")
        .body(r#"{"a":1}"#);
    let told = front.nginx.send(request).await.json;
    let expected = json!({
        "by": "php", "method": "POST", "uri": path, "cookie": "PHPSESSID=abc", "session": "s-1",
        "body": r#"{"a":1}"#,
    });
    assert_eq!(told, expected);
    // A browser asks before it sends a DELETE; PHP has always answered that.
    let preflight = front
        .nginx
        .request(Method::OPTIONS, "/dashboard/api/migrations/7")
        .header("origin", "https://dashboard.example")
        .header("access-control-request-method", "DELETE");
    let answer = front.nginx.send(preflight).await;
    assert!(front.is_theirs(&answer), "{answer:?}");
}

#[tokio::test]
async fn without_procwarden_php_goes_on() {
    let mut front = Front::start(SITE).await;
    front.warden.stop().await;
    for (path, _) in OURS {
        let answer = front.ask(&Method::GET, path).await;
        assert!(front.is_ours(&answer), "{path}: {answer:?}");
        assert_eq!(answer.status, 502, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(answer.json["success"], false, "{path}");
        assert!(!answer.json["error"].as_str().unwrap().is_empty());
    }
    for path in THEIRS {
        let answer = front.ask(&Method::POST, path).await;
        assert!(front.is_theirs(&answer), "{path}: {answer:?}");
        assert_eq!(answer.status, 200, "{path}");
    }
    front.warden.restart().await;
    eventually(SOON, || async {
        let answer = front.ask(&Method::GET, "/dashboard/api/migrations/7").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

#[tokio::test]
#[ignore = "slow: the time-out of nginx"]
async fn a_procwarden_that_hangs_does_not_hinder_php() {
    let front = Front::start(SITE).await;
    front.warden.signal(Signal::STOP);
    let (path, method) = ("/dashboard/api/migrations/7/process", Method::GET);
    let ours = front.ask(&method, path);
    let theirs = async {
        for path in THEIRS {
            let answer = front.ask(&Method::POST, path).await;
            assert!(front.is_theirs(&answer), "{path}: {answer:?}");
        }
    };
    let (answer, ()) = tokio::join!(ours, theirs);
    front.warden.signal(Signal::CONT);
    assert!(front.is_ours(&answer), "{answer:?}");
    assert_eq!((answer.status, &answer.json["success"]), (504, &json!(false)));
    assert_eq!(front.ask(&method, path).await.status, 200);
}

#[tokio::test]
async fn health_is_the_truth_of_this_moment() {
    let front = Front::start(SITE).await;
    let path = "/api/admin/monero/health";
    let answer = front.ask(&Method::GET, path).await;
    assert!(front.is_ours(&answer), "{answer:?}");
    assert_eq!((answer.status, &answer.json["status"]), (503, &json!("degraded")));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.headers.get("expires").is_none(), "{:?}", answer.headers);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(front.warden.delete("/nodes/n").await.status / 100, 2);
    eventually(SOON, || async {
        let answer = front.ask(&Method::GET, path).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_and_nothing_is_packed_twice() {
    // Looked at once, so that the list stands still; long enough to be packed.
    let mut config = WardenConfig::default()
        .set("server.base_paths", json!(["/api/admin/monero"]))
        .set("server.trusted_proxies", json!(["127.0.0.1"]))
        .set("nodes.interval", "1h")
        .set("nodes.method", "pid");
    for i in 0..60 {
        config = config.node(node(&format!("node-{i}"), ports::free_port()));
    }
    let warden = Warden::start(config).await;
    warden
        .until("/nodes/status", SOON, |answer| {
            let nodes = answer.json["nodes"].as_array()?;
            nodes.iter().all(|node| node["state"] == "down").then_some(())
        })
        .await;
    let php = Php::start();
    let nginx = Nginx::start(warden.port(), php.port(), SITE);
    let path = "/api/admin/monero/nodes/status";
    for encoding in ["identity", "gzip"] {
        let ask = |tag: &str| {
            let request = nginx.request(Method::GET, path).header("accept-encoding", encoding);
            if tag.is_empty() { request } else { request.header("if-none-match", tag) }
        };
        let first = nginx.send(ask("")).await;
        let straight = warden
            .send(warden.request(Method::GET, path).header("accept-encoding", encoding))
            .await;
        assert_eq!(first.body, straight.body, "{encoding}");
        for name in ["etag", "content-encoding", "cache-control", "vary"] {
            assert_eq!(first.header(name), straight.header(name), "{encoding} {name}");
        }
        let mut text = first.body.clone();
        if encoding == "gzip" {
            text.clear();
            GzDecoder::new(first.body.as_slice()).read_to_end(&mut text).unwrap();
        }
        assert!(text.starts_with(b"{\"total\":60"), "{encoding}");
        let again = nginx.send(ask(first.header("etag"))).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{encoding}");
        assert_eq!(nginx.send(ask("\"other\"")).await.status, 200, "{encoding}");
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let front = Front::start("").await;
    let mut seen = Vec::new();
    for (path, _) in OURS {
        front.ask(&Method::GET, path).await;
        // The test itself asks the same port, at times over a second connection.
        seen.push(kernel::peers_of(front.nginx.pid(), front.warden.port()));
    }
    assert_eq!(seen[0].len(), 1, "{seen:?}");
    assert!(seen.iter().all(|peers| *peers == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn who_asks_is_passed_on() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let procwarden = fake::serve_by(move |request| {
        seen.lock().unwrap().push(request.to_owned());
        Manner::answers("200 OK", "{}")
    });
    let php = Php::start();
    let nginx = Nginx::start(procwarden, php.port(), "");
    for path in ["/dashboard/api/migrations?status=error&x=%2F", "/health?scope=fleet"] {
        let request = nginx
            .request(Method::GET, path)
            .header("host", "dashboard.example:8080")
            .header("cookie", "PHPSESSID=abc")
            .header("x-dashboard-session", "s-1")
            .header("authorization", "Bearer t")
            .header("last-event-id", "5")
            .header("x-forwarded-for", "192.0.2.7");
        assert_eq!(nginx.send(request).await.status, 200);
        let head = heads.lock().unwrap().pop().unwrap();
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
        let head = head.to_lowercase();
        for line in [
            "host: dashboard.example",
            "x-forwarded-host: dashboard.example",
            "x-forwarded-proto: http",
            "x-forwarded-for: 192.0.2.7, 127.0.0.1",
            "x-real-ip: 127.0.0.1",
            "cookie: phpsessid=abc",
            "x-dashboard-session: s-1",
            "authorization: bearer t",
            "last-event-id: 5",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
        assert!(!head.contains("\r\nconnection: close"), "{head}");
    }
}

#[tokio::test]
async fn who_may_not_see_the_site_may_not_see_ours() {
    let front = Front::start("    auth_request /denied;").await;
    for path in ["/dashboard/api/migrations/7", "/dashboard/api/auth/login"] {
        let answer = front.ask(&Method::GET, path).await;
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    }
}

#[test]
fn the_address_stands_once_and_is_the_default_one() {
    let text = deployed("nginx-adopt-upstream.conf");
    assert_eq!(text.matches("127.0.0.1:8686").count(), 1);
    assert!(!deployed("nginx-adopt.conf").contains("127.0.0.1"), "nothing to be edited there");
}
