//! One `get_version` of a node: connect if need be, log in if asked, read the answer, all inside its limits.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::Limits;
use super::answer;
use super::connection::{Broken, Connection};
use super::digest::{self, Challenge, Login, Session};
use super::reach::{self, Unreached, plain};
use super::tls::Configs;
use crate::causes::chain;
use crate::domain::Node;
use crate::domain::node::Password;
use crate::domain::observation::{ApiFacts, ApiSeen};
use crate::secrets::{Secrets, Unreadable};

/// The only path that the real server answers.
const PATH: &str = "/json_rpc";

/// Most requests of one exchange: without a nonce, with it, and once more when it was called stale.
const MOST_REQUESTS: u32 = 3;

/// The password to log in with, in clear; none for a node that has no login.
///
/// # Errors
/// [`Unreadable`]
pub fn password(node: &Node, secrets: &Secrets) -> Result<Option<Password>, Unreadable> {
    let sealed = node.password.as_ref().filter(|_| node.username.is_some());
    sealed.map(|password| secrets.open(password)).transpose()
}

/// Asks a node for its version over `kept`, or over a new connection; without a login if the password is unreadable.
///
/// The connection is given back when it is fit for the next exchange.
pub async fn ask(
    node: &Node,
    password: &Result<Option<Password>, Unreadable>,
    kept: Option<Connection>,
    limits: Limits,
    tls: &Configs,
) -> (ApiFacts, Option<Connection>) {
    let login = match (&node.username, password) {
        (Some(username), Ok(password)) => {
            Some(Login { username, password: password.as_ref().map_or("", Password::expose) })
        }
        _ => None,
    };
    let ended = exchange(node, login, kept, limits, tls).await;
    let unreadable = password.as_ref().err().map(|error| chain(error).into());
    let facts = ApiFacts { url: node.url(), seen: ended.seen, latency: ended.latency, unreadable };
    (facts, ended.connection)
}

/// How an exchange ended.
struct Ended {
    seen: ApiSeen,
    latency: Option<Duration>,
    connection: Option<Connection>,
}

impl Ended {
    /// Without a whole answer, so without a connection to keep.
    const fn early(seen: ApiSeen) -> Self {
        Self { seen, latency: None, connection: None }
    }
}

async fn exchange(
    node: &Node,
    login: Option<Login<'_>>,
    kept: Option<Connection>,
    limits: Limits,
    tls: &Configs,
) -> Ended {
    let timed_out = || Ended::early(ApiSeen::Timeout(limits.api_timeout));
    let mut end = None;
    if let Some(connection) = kept {
        let until = Instant::now() + limits.api_timeout;
        match timeout_at(until, Talk::new(node, login, connection).run()).await {
            Err(_) => return timed_out(),
            Ok(Ok(ended)) => return ended,
            // The server has closed it since the last check, most often because it restarted: nothing was
            // answered, so nothing is known yet.
            Ok(Err(Failed { broken: Broken::Closed, answered: false })) => end = Some(until),
            Ok(Err(failed)) => return Ended::early(failed.seen()),
        }
    }
    let config = match tls.get(node.tls).await {
        Ok(config) => config,
        Err(text) => return Ended::early(ApiSeen::Tls(text)),
    };
    let connecting = reach::connect(&node.host, node.port, limits.connect_timeout);
    let connected = match end {
        None => connecting.await,
        Some(until) => match timeout_at(until, connecting).await {
            Ok(connected) => connected,
            Err(_) => return timed_out(),
        },
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(why) => return Ended::early(unreached(why, limits)),
    };
    let until = end.unwrap_or_else(|| Instant::now() + limits.api_timeout);
    let whole = async {
        let connection = Connection::open(stream, &node.host, config)
            .await
            .map_err(|broken| Failed { broken, answered: false })?;
        Talk::new(node, login, connection).run().await
    };
    match timeout_at(until, whole).await {
        Err(_) => timed_out(),
        Ok(Ok(ended)) => ended,
        Ok(Err(failed)) => Ended::early(failed.seen()),
    }
}

fn unreached(why: Unreached, limits: Limits) -> ApiSeen {
    match why {
        Unreached::Timeout => ApiSeen::ConnectTimeout(limits.connect_timeout),
        Unreached::Dns(text) => ApiSeen::Dns(text),
        Unreached::Refused(error) => ApiSeen::Refused(plain(&error)),
        Unreached::Io(error) => ApiSeen::Io(plain(&error)),
    }
}

/// The connection broke, and whether the server had answered anything during this exchange.
struct Failed {
    broken: Broken,
    answered: bool,
}

impl Failed {
    fn seen(self) -> ApiSeen {
        match self.broken {
            Broken::Closed if self.answered => ApiSeen::Unauthorized(
                "the server asks for a login and closes the connection, so Digest cannot work"
                    .to_owned(),
            ),
            Broken::Closed => ApiSeen::Io("closed without an answer".to_owned()),
            Broken::Cut => ApiSeen::Io("closed in the middle of the answer".to_owned()),
            Broken::NotHttp(text) => ApiSeen::NotJsonRpc(text.to_owned()),
            Broken::Tls(text) => ApiSeen::Tls(text),
            Broken::Io(text) => ApiSeen::Io(text),
        }
    }
}

/// One exchange over one connection: up to [`MOST_REQUESTS`] requests, one after the other.
struct Talk<'a> {
    node: &'a Node,
    login: Option<Login<'a>>,
    connection: Connection,
    began: Instant,
    answered: bool,
}

impl<'a> Talk<'a> {
    fn new(node: &'a Node, login: Option<Login<'a>>, connection: Connection) -> Self {
        Self { node, login, connection, began: Instant::now(), answered: false }
    }

    async fn run(mut self) -> Result<Ended, Failed> {
        let seen = match self.converse().await {
            Ok(seen) => seen,
            Err(broken) => return Err(Failed { broken, answered: self.answered }),
        };
        let latency = Some(self.began.elapsed());
        Ok(match seen {
            // Its body was not read: the connection is good for nothing more.
            ApiSeen::HttpStatus(_) => Ended { latency, ..Ended::early(seen) },
            _ => Ended { seen, latency, connection: Some(self.connection) },
        })
    }

    async fn converse(&mut self) -> Result<ApiSeen, Broken> {
        for _ in 0..MOST_REQUESTS {
            self.connection.asked += 1;
            let id = format!("procwarden-{}", self.connection.asked);
            let request = match self.request(&id) {
                Ok(request) => request,
                Err(seen) => return Ok(seen),
            };
            let response = self.connection.send(request).await?;
            self.answered = true;
            match response.status() {
                StatusCode::OK => {
                    if let Some(session) = self.connection.session.as_mut() {
                        session.accepted = true;
                    }
                    let body = self.connection.read(response.into_body()).await?;
                    return Ok(answer::read(&body, &id));
                }
                StatusCode::UNAUTHORIZED => {
                    if let Some(seen) = self.challenged(response).await? {
                        return Ok(seen);
                    }
                }
                other => return Ok(ApiSeen::HttpStatus(other.as_u16())),
            }
        }
        self.connection.session = None;
        Ok(refused("the server calls every nonce stale"))
    }

    /// Reads a 401 to its end. `None`: there is a new nonce to try with.
    async fn challenged(
        &mut self,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Option<ApiSeen>, Broken> {
        let challenges = challenges(response.headers());
        self.connection.read(response.into_body()).await?;
        let session = self.connection.session.take();
        if self.login.is_none() {
            return Ok(Some(refused("the server asks for a login and the node has none")));
        }
        let Some(challenge) = digest::choose(challenges.clone()) else {
            return Ok(Some(refused(if challenges.iter().any(|c| c.is("Basic")) {
                "the server offers only Basic, which would send the password in clear"
            } else {
                "the server offers no Digest login with MD5"
            })));
        };
        if let Some(session) = session {
            // A server that says nothing of staleness may still have forgotten a nonce that it took before.
            let stale = challenge.stale().unwrap_or(session.accepted);
            if !stale {
                return Ok(Some(refused("the server refuses the user name or the password")));
            }
        }
        self.connection.session = Some(Session::new(challenge));
        Ok(None)
    }

    fn request(&mut self, id: &str) -> Result<Request<Full<Bytes>>, ApiSeen> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"get_version"}}"#);
        // A whole body of known length: hyper sends Content-Length, as the real server needs.
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hyper::Uri::from_static(PATH);
        let host = host_header(self.node)
            .map_err(|_| ApiSeen::Dns("the host is no name that can be asked for".to_owned()))?;
        let authorization = self.authorization()?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// The answer to the nonce in use, where there is one.
    fn authorization(&mut self) -> Result<Option<HeaderValue>, ApiSeen> {
        let (Some(session), Some(login)) = (self.connection.session.as_mut(), self.login) else {
            return Ok(None);
        };
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|error| ApiSeen::Io(format!("no random numbers: {error}")))?;
        let cnonce = random.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let text = session.answer(login, Method::POST.as_str(), PATH, &cnonce);
        let mut value = HeaderValue::from_str(&text)
            .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
            .map_err(|_| refused("the user name has characters that HTTP cannot send"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn refused(text: &str) -> ApiSeen {
    ApiSeen::Unauthorized(text.to_owned())
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .flat_map(|value| digest::parse(&String::from_utf8_lossy(value.as_bytes())))
        .collect()
}

fn host_header(node: &Node) -> Result<HeaderValue, hyper::header::InvalidHeaderValue> {
    let Node { host, port, .. } = node;
    HeaderValue::try_from(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}
