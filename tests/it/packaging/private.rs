//! A real nginx with TLS and a sign-on before a real procwarden, as it is shipped: who is let in reads, nobody else does.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{SOON, changed};
use crate::nodes::{becomes, node};
use crate::support::authority::authority;
use crate::support::nginx;
use crate::support::ports::{self, HeldPort};
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, eventually};

/// nginx with the shipped file for this port of procwarden's, and where it listens.
fn front(dir: &Path, procwarden: u16) -> (Program, u16) {
    let (_, key, certificate) = authority(dir, "127.0.0.1");
    std::fs::write(dir.join("users"), "ann:{PLAIN}sesame\n").unwrap();
    let port = HeldPort::take().hand_over();
    let site = changed(
        "nginx-auth.conf",
        &[
            ("server 127.0.0.1:8686;", &format!("server 127.0.0.1:{procwarden};")),
            ("127.0.0.1:8443", &format!("127.0.0.1:{port}")),
            ("/etc/ssl/certs/procwarden.pem", certificate.to_str().unwrap()),
            ("/etc/ssl/private/procwarden.key", key.to_str().unwrap()),
            (
                "auth_basic_user_file /etc/nginx/procwarden.htpasswd",
                &format!("auth_basic_user_file {}/users", dir.display()),
            ),
        ],
    );
    (nginx::site(dir, &site), port)
}

struct Front {
    dir: PathBuf,
    port: u16,
    nginx: Program,
}

impl Front {
    async fn before(warden: &Warden, dir: &Path) -> Self {
        let (nginx, port) = front(dir, warden.port());
        let front = Self { dir: dir.to_owned(), port, nginx };
        eventually(SOON, || async {
            match front.get("/health", None).0 {
                0 => Err(front.nginx.log()),
                _ => Ok(()),
            }
        })
        .await;
        front
    }

    /// What curl says that came: the code, 0 if there was no answer, and the body.
    fn ask(&self, path: &str, user: Option<&str>, more: &[&str]) -> (u16, String) {
        let mut curl = Command::new("curl");
        let authority = self.dir.join("ca.pem");
        curl.args([
            "--silent",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--write-out",
            "\n%{http_code}",
        ]);
        curl.arg("--cacert").arg(authority).args(more);
        if let Some(password) = user {
            curl.args(["--user", &format!("ann:{password}")]);
        }
        let output = curl.arg(format!("https://127.0.0.1:{}{path}", self.port)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap();
        (code.parse().unwrap(), body.to_owned())
    }

    fn get(&self, path: &str, user: Option<&str>) -> (u16, Value) {
        let (code, body) = self.ask(path, user, &[]);
        (code, serde_json::from_str(&body).unwrap_or_default())
    }
}

async fn down(config: WardenConfig) -> Warden {
    let warden = Warden::start(config.node(node("n", ports::free_port()))).await;
    becomes(&warden, "n", "down", Some("port_closed")).await;
    warden
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_on_reads() {
    let config = WardenConfig::default().set("server.trusted_proxies", json!(["127.0.0.1"]));
    let warden = down(config).await;
    let dir = tempfile::TempDir::new().unwrap();
    let front = Front::before(&warden, dir.path()).await;
    for path in ["/", "/nodes/status", "/nodes/n/status", "/migrations", "/metrics"] {
        for user in [None, Some("wrong")] {
            assert_eq!(front.get(path, user), (401, Value::Null), "{path}: nginx's own word");
        }
        assert_eq!(front.get(path, Some("sesame")).0, 200, "{path}");
    }
    let (status, body) = front.get("/health", None);
    assert_eq!((status, &body["status"]), (503, &json!("degraded")));
    let (status, events) = front.ask("/events", Some("sesame"), &["--max-time", "2"]);
    assert!(status == 200 && !events.is_empty(), "the stream begins at once");
    let (status, _) = front.ask("/nodes/n", Some("sesame"), &["--request", "DELETE"]);
    assert_eq!(status, 401, "reading is not writing");
    let (status, _) = front.ask("/session", Some("sesame"), &["--request", "POST"]);
    assert_eq!(status, 204, "the page asks for no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_nobody_trusts_reads_nothing() {
    let warden = down(WardenConfig::default()).await;
    let dir = tempfile::TempDir::new().unwrap();
    let front = Front::before(&warden, dir.path()).await;
    let (status, body) = front.get("/nodes/status", Some("sesame"));
    assert_eq!((status, &body["code"]), (401, &json!("unauthorized")));
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.contains("x-forwarded-") && detail.contains("server.trusted_proxies"),
        "{detail}"
    );
    assert_eq!(front.get("/health", None).0, 503);
    assert_eq!(warden.get("/nodes/status").await.status, 200, "who asks directly reads");
}

/// The plain one passes on what tells of it in each of its locations: forgotten in one, that would be open to all.
#[tokio::test(flavor = "multi_thread")]
async fn no_location_of_the_plain_one_looks_like_a_local_client() {
    let warden = down(WardenConfig::default()).await;
    let dir = tempfile::TempDir::new().unwrap();
    let port = HeldPort::take().hand_over();
    let site = changed(
        "nginx.conf",
        &[
            ("server 127.0.0.1:8686;", &format!("server 127.0.0.1:{};", warden.port())),
            ("127.0.0.1:8080", &format!("127.0.0.1:{port}")),
        ],
    );
    let nginx = nginx::site(dir.path(), &site);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let code = |path: &'static str, auth: bool| {
        let request = client.get(format!("http://127.0.0.1:{port}{path}"));
        let request = if auth { request.bearer_auth("test-token") } else { request };
        async { request.send().await.map(|answer| answer.status().as_u16()) }
    };
    eventually(SOON, || async {
        code("/health", false).await.map(drop).map_err(|error| format!("{error:?} {}", nginx.log()))
    })
    .await;
    for path in ["/nodes/status", "/events", "/metrics", "/migrations"] {
        assert_eq!(code(path, false).await.unwrap(), 401, "{path}");
        assert_eq!(code(path, true).await.unwrap(), 200, "{path}");
    }
    assert_eq!(code("/health", false).await.unwrap(), 503);
}
