//! The checker against made-up servers, for what the real one cannot be made to do, and against the real one.

mod exchange;
mod real;
mod rest;
mod sealed;
mod sharing;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::tls::Configs;
use super::*;
use crate::domain::node::{Password, Tls};
use crate::domain::observation::ApiSeen;

/// Long enough that only what is meant to time out does.
pub const LIMITS: Limits =
    Limits { connect_timeout: Duration::from_secs(10), api_timeout: Duration::from_secs(20) };

/// For tests in which something times out.
pub const SHORT: Limits =
    Limits { connect_timeout: Duration::from_millis(300), api_timeout: Duration::from_millis(400) };

/// A copy as the checker takes it, at another place in memory each time.
fn shared(node: &Node) -> Arc<Node> {
    Arc::new(node.clone())
}

/// A node on this host without credentials.
pub fn node(port: u16) -> Node {
    Node { id: 1, ..Node::new("n", "127.0.0.1", port, "i") }
}

fn with_login(port: u16, username: &str, password: &str) -> Node {
    let password = Some(Password::new(password.into()));
    Node { username: Some(username.into()), password, ..node(port) }
}

/// The ways of a checker that has looked at nothing yet.
pub fn ways(limits: Limits) -> Ways {
    let (names, tls) = (Names::default(), Configs::new().unwrap());
    Ways { limits, names, tls, patience: Patience::default() }
}

fn checker(limits: Limits) -> Checker {
    keeping(limits, 100)
}

/// One that keeps so many connections.
fn keeping(limits: Limits, most: usize) -> Checker {
    let places = Places::exactly(most);
    Checker::new(Processes::new().unwrap(), limits, Secrets::default(), places).unwrap()
}

async fn api(checker: &Checker, node: &Node) -> ApiSeen {
    match checker.check(&shared(node), Method::Api).await.observation {
        Observation::Api(facts) => facts.seen,
        other => panic!("{other:?}"),
    }
}

/// A port that is taken and refuses: bound, but never listened on.
pub fn deaf() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A server that follows a script on each connection.
struct Fake {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Client) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, log) = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                clients.spawn(script(Client { stream, number, log: log.clone() }));
            }
        });
        Self { port, connections, requests, task }
    }

    /// Answers each request with what `reply` makes of it.
    async fn answering(reply: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> Self {
        Self::start(move |mut client| {
            let reply = reply.clone();
            async move {
                while let Some(request) = client.request().await {
                    client.send(reply(&request)).await;
                }
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One connection, from the server's side.
struct Client {
    stream: TcpStream,
    /// 0 for the first connection.
    number: usize,
    log: Arc<Mutex<Vec<String>>>,
}

impl Client {
    /// The next whole request, head and body; `None` at the end.
    async fn request(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= length_of(head)
            {
                self.log.lock().unwrap().push(text.clone());
                return Some(text);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => text.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
            }
        }
    }

    /// Sends as much as the other side takes.
    async fn send(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref()).await;
    }

    /// Waits for the other side to close.
    async fn wait(&mut self) {
        while matches!(self.stream.read(&mut [0; 64]).await, Ok(n) if n > 0) {}
    }
}

fn length_of(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    if head.starts_with("GET ") {
        return 0;
    }
    line.expect("a request without Content-Length").parse().unwrap()
}

/// The value of a quoted or bare parameter of the `Authorization` header.
fn param(request: &str, name: &str) -> Option<String> {
    let line = request.lines().find_map(|line| line.strip_prefix("Authorization: Digest "))?;
    line.split(", ")
        .find_map(|part| part.strip_prefix(&format!("{name}=")))
        .map(|value| value.trim_matches('"').to_owned())
}

fn id_of(request: &str) -> String {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

/// A right answer, as the real server writes it.
fn good(request: &str) -> String {
    ok(&format!(
        "{{\r\n  \"id\": \"{}\",\r\n  \"jsonrpc\": \"2.0\",\r\n  \"result\": {{\r\n    \"release\": false,\r\n    \
         \"version\": 65561\r\n  }}\r\n}}",
        id_of(request)
    ))
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 Ok\r\nServer: Epee-based\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}",
        body.len()
    )
}

/// A challenge of the real server's form; `more` is further header lines.
fn challenge(nonce: &str, stale: bool, more: &str) -> String {
    format!(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n{more}\
         WWW-authenticate: Digest qop=\"auth\",algorithm=MD5-sess,realm=\"r\",nonce=\"{nonce}\",stale={stale}\r\n\
         WWW-authenticate: Digest qop=\"auth\",algorithm=MD5,realm=\"r\",nonce=\"{nonce}\",stale={stale}\r\n\r\n401"
    )
}
