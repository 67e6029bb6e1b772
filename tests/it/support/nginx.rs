//! A real nginx with the files of `deploy/` before procwarden, and a program of PHP's own for all that is left to PHP.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::kernel;
use super::poll::eventually_sync;
use super::ports::HeldPort;
use super::program::Program;
use super::warden::Answer;

/// Longest wait for a start.
const SOON: Duration = Duration::from_mins(1);

/// Where the upstream file says that procwarden is; the only thing in it that a test replaces.
const ADDRESS: &str = "127.0.0.1:8686";

/// Tells what arrived, and that PHP answered.
const ROUTER: &str = r"<?php
header('Content-Type: application/json');
header('X-Answered-By: php');
echo json_encode([
    'by' => 'php',
    'method' => $_SERVER['REQUEST_METHOD'],
    'uri' => $_SERVER['REQUEST_URI'],
    'cookie' => $_SERVER['HTTP_COOKIE'] ?? null,
    'session' => $_SERVER['HTTP_X_DASHBOARD_SESSION'] ?? null,
    'body' => file_get_contents('php://input'),
]);
";

/// PHP's own server; it answers every path and method.
#[derive(Debug)]
pub struct Php {
    _program: Program,
    port: u16,
    _dir: TempDir,
}

impl Php {
    /// Starts it and waits until it listens.
    pub fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let router = dir.path().join("router.php");
        fs::write(&router, ROUTER).unwrap();
        let (program, port) = listening(|port| {
            let address = format!("127.0.0.1:{port}");
            let words = ["-S", &address, router.to_str().unwrap()];
            Program::start("php", words, dir.path(), &dir.path().join("log"), &[])
        });
        Self { _program: program, port, _dir: dir }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The web server; ends with this handle.
#[derive(Debug)]
pub struct Nginx {
    program: Program,
    port: u16,
    client: reqwest::Client,
    _dir: TempDir,
}

impl Nginx {
    /// Before the two ports. `site` is what else stands in `http {}`, for all that is below.
    pub fn start(procwarden: u16, php: u16, site: &str) -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["nginx-adopt-upstream.conf", "nginx-adopt.conf"] {
            let text = deployed(name).replace(ADDRESS, &format!("127.0.0.1:{procwarden}"));
            fs::write(dir.path().join(name), text).unwrap();
        }
        let (program, port) =
            listening(|port| self::site(dir.path(), &before_php(dir.path(), port, php, site)));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SOON)
            .build()
            .unwrap();
        Self { program, port, client, _dir: dir }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.program.pid()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// A request to be shaped by the test.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://127.0.0.1:{}{path}", self.port))
    }

    /// Sends a request and takes the whole answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap_or_else(|e| panic!("{e:?}; {}", self.log()));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.unwrap().to_vec();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status, headers, body, json }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }
}

/// nginx with this in `http {}`; one process, and all that it writes is in its directory.
pub fn site(dir: &Path, site: &str) -> Program {
    fs::write(dir.join("nginx.conf"), around(dir, site)).unwrap();
    let words = ["-e", "stderr", "-p", dir.to_str().unwrap(), "-c", "nginx.conf"];
    Program::start(binary(), words, dir, &dir.join("nginx.log"), &[])
}

/// The address that nginx asked for this answer; of several tries, all of them.
pub fn upstream(answer: &Answer) -> &str {
    answer.header("x-upstream")
}

/// A file of `deploy/`.
pub fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Debian has it outside of the PATH of users.
fn binary() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() { debian } else { "nginx" }
}

/// The whole file: one process, so that nothing outlives it. All that it writes is in its directory.
fn around(dir: &Path, site: &str) -> String {
    let dir = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {dir}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\nerror_log stderr notice;\npid {dir}/pid;\n\
         events {{ worker_connections 256; }}\nhttp {{\n    access_log off;\n{temp}{site}\n}}\n"
    )
}

/// PHP has one script for everything, as Laravel has it, reached by a redirect inside.
fn before_php(dir: &Path, port: u16, php: u16, site: &str) -> String {
    let path = dir.display();
    format!(
        "{site}\n    include {path}/nginx-adopt-upstream.conf;\n    server {{\n        listen 127.0.0.1:{port};\n        \
         add_header X-Upstream $upstream_addr always;\n        include {path}/nginx-adopt.conf;\n        \
         location = /denied {{ return 401; }}\n        \
         location / {{ try_files $uri /index.php?$query_string; }}\n        \
         location = /index.php {{ proxy_pass http://127.0.0.1:{php}$request_uri; }}\n    }}"
    )
}

/// Starts a program on a free port until it gets it, and waits until it listens.
fn listening(start: impl Fn(u16) -> Program) -> (Program, u16) {
    for _ in 0..5 {
        let port = HeldPort::take().hand_over();
        let mut program = start(port);
        let listens = eventually_sync(SOON, || {
            if program.exited().is_some() {
                let log = program.log();
                assert!(log.contains("in use"), "it ended; its log:\n{log}");
                return Ok(false);
            }
            if kernel::listens(program.pid(), port) { Ok(true) } else { Err(program.log()) }
        });
        if listens {
            return (program, port);
        }
    }
    panic!("no port could be had")
}
