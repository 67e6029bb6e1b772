//! One question to a node: connect if need be, log in if asked, read the answer, all inside its limits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Limits;
use super::connection::{Answer, Broken, Connection};
use super::digest::{self, Login, Session};
use super::patience::Subject;
use super::question::Parts;
use super::reach::{self, Unreached, plain};
use super::silence::Watch;
use super::slot::Slot;
use super::ways::Ways;
use super::wire;
use crate::causes::chain;
use crate::clock;
use crate::domain::Node;
use crate::domain::node::Password;
use crate::domain::observation::{ApiFacts, ApiSeen, Silence};
use crate::secrets::{Missing, Secrets, Unreadable};

/// Most requests of one exchange: without a nonce, with it, and once more when it was called stale.
const MOST_REQUESTS: u32 = 3;

/// Room for a request; one with a login has 600 bytes.
const ROOM: usize = 768;

/// The password of a node's login in clear.
///
/// # Errors
/// [`Unreadable`]
pub async fn password(
    node: i64,
    password: &Password,
    secrets: &Secrets,
    ways: &Ways,
) -> Result<Password, Unreadable> {
    // The environment answers at once.
    if password.name().is_none_or(|name| name.starts_with("env:")) {
        return secrets.open(password);
    }
    // Apart, so that what most checks hold is small.
    Box::pin(named(node, password, secrets, ways)).await
}

/// The file may lie on a disk that hangs.
async fn named(
    node: i64,
    password: &Password,
    secrets: &Secrets,
    ways: &Ways,
) -> Result<Password, Unreadable> {
    let (secrets, name) = (secrets.clone(), password.clone());
    let Ways { limits, patience, .. } = ways;
    let subject = Subject::Secret(password.expose().to_owned());
    let opened =
        patience.wait(node, subject, limits.api_timeout, move || secrets.open(&name)).await;
    opened.unwrap_or_else(|| Err(Missing::Hangs(password.expose().to_owned()).into()))
}

/// Puts its question to a node over the kept connection, or over a new one; without a login if the password is unreadable.
///
/// The connection is given back when it is fit for the next exchange.
pub async fn ask(
    slot: &Slot,
    password: &Result<Option<Password>, Unreadable>,
    watch: &Watch<'_>,
) -> (ApiFacts, Option<Box<Connection>>) {
    let node = slot.target();
    let login = match (slot.username(), password) {
        (Some(username), Ok(password)) => {
            Some(Login { username, password: password.as_ref().map_or("", Password::expose) })
        }
        _ => None,
    };
    let (question, begin) = (slot.question(), slot.begin());
    let began = Instant::now();
    let kept = slot.take().filter(|kept| !kept.overslept(began, clock::uptime()));
    let ended = exchange(Asked { node, question, begin, login }, kept, began, watch).await;
    let unreadable = password.as_ref().err().map(|error| chain(error).into());
    let Ended { seen, latency, silence, .. } = ended;
    let silence = silence.map(Box::new);
    let facts = ApiFacts { url: Arc::clone(slot.url()), seen, latency, unreadable, silence };
    (facts, ended.connection.filter(|connection| connection.is_fit()))
}

/// Who is asked what, and as whom.
#[derive(Clone, Copy)]
struct Asked<'a> {
    node: &'a Node,
    question: &'a Parts,
    begin: Option<&'a str>,
    login: Option<Login<'a>>,
}

/// How an exchange ended.
struct Ended {
    seen: ApiSeen,
    latency: Option<Duration>,
    silence: Option<Silence>,
    connection: Option<Box<Connection>>,
}

impl Ended {
    /// Without a whole answer, so without a connection to keep.
    const fn early(seen: ApiSeen) -> Self {
        Self { seen, latency: None, silence: None, connection: None }
    }

    const fn timed_out(limits: Limits, silence: Option<Silence>) -> Self {
        let seen = ApiSeen::Timeout(limits.api_timeout);
        Self { seen, latency: None, silence, connection: None }
    }
}

async fn exchange(
    asked: Asked<'_>,
    kept: Option<Box<Connection>>,
    began: Instant,
    watch: &Watch<'_>,
) -> Ended {
    let (ways, mut end) = (watch.ways, None);
    if let Some(mut connection) = kept
        && connection.is_quiet().await
    {
        let until = began + ways.limits.api_timeout;
        let mut talk = Talk { asked, connection, began, answered: false };
        // Pinned here and lent: a future that is passed on by value is moved, and room is kept for it at each place.
        let heard = watch.until(began, until, pin!(talk.converse())).await;
        match heard {
            Err(silence) => return Ended::timed_out(ways.limits, silence),
            Ok(Ok(seen)) => return talk.ended(seen),
            // The server has closed it since the last check, most often because it restarted: nothing was
            // answered, so nothing is known yet.
            Ok(Err(Broken::Closed)) if !talk.answered => end = Some(until),
            Ok(Err(broken)) => return Ended::early(broke(broken, talk.answered)),
        }
    }
    // Apart, so that what most checks hold is small.
    Box::pin(anew(asked, end, watch)).await
}

/// An exchange over a new connection, until `end` if there is one.
async fn anew(asked: Asked<'_>, end: Option<Instant>, watch: &Watch<'_>) -> Ended {
    let Ways { limits, names, tls, .. } = watch.ways;
    let node = asked.node;
    let config = match tls.get(node.tls).await {
        Ok(config) => config,
        Err(text) => return Ended::early(ApiSeen::Tls(text)),
    };
    let connecting = reach::connect(names, &node.host, node.port, limits.connect_timeout);
    let connected = match end {
        None => connecting.await,
        Some(until) => match timeout_at(until, connecting).await {
            Ok(connected) => connected,
            Err(_) => return Ended::timed_out(*limits, None),
        },
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(why) => return Ended::early(unreached(why, *limits)),
    };
    let began = Instant::now();
    let until = end.unwrap_or(began + limits.api_timeout);
    let whole = async {
        let connection = match Connection::open(stream, &node.host, config).await {
            Ok(connection) => connection,
            Err(broken) => return Ended::early(broke(broken, false)),
        };
        let mut talk = Talk { asked, connection, began: Instant::now(), answered: false };
        match talk.converse().await {
            Ok(seen) => talk.ended(seen),
            Err(broken) => Ended::early(broke(broken, talk.answered)),
        }
    };
    let ended = watch.until(began, until, pin!(whole)).await;
    ended.unwrap_or_else(|silence| Ended::timed_out(*limits, silence))
}

fn unreached(why: Unreached, limits: Limits) -> ApiSeen {
    match why {
        Unreached::Timeout => ApiSeen::ConnectTimeout(limits.connect_timeout),
        Unreached::Dns(text) => ApiSeen::Dns(text),
        Unreached::Refused(error) => ApiSeen::Refused(plain(&error)),
        Unreached::Io(error) => ApiSeen::Io(plain(&error)),
        Unreached::Unable(error) => ApiSeen::Unable(plain(&error)),
    }
}

/// What a broken connection says; `answered` if the server had answered anything during this exchange.
fn broke(broken: Broken, answered: bool) -> ApiSeen {
    match broken {
        Broken::Closed if answered => {
            refused("the server asks for a login and closes the connection, so Digest cannot work")
        }
        Broken::Closed => ApiSeen::Io("closed without an answer".to_owned()),
        Broken::Cut => ApiSeen::Io("closed in the middle of the answer".to_owned()),
        Broken::NotHttp(text) => ApiSeen::NotJsonRpc(text.to_owned()),
        Broken::Tls(text) => ApiSeen::Tls(text),
        Broken::Io(text) => ApiSeen::Io(text),
    }
}

/// One exchange over one connection: up to [`MOST_REQUESTS`] requests, one after the other.
struct Talk<'a> {
    asked: Asked<'a>,
    connection: Box<Connection>,
    began: Instant,
    answered: bool,
}

impl Talk<'_> {
    /// It came to its end, and the connection may serve again.
    fn ended(self, seen: ApiSeen) -> Ended {
        let latency = Some(self.began.elapsed());
        Ended { seen, latency, silence: None, connection: Some(self.connection) }
    }

    async fn converse(&mut self) -> Result<ApiSeen, Broken> {
        for _ in 0..MOST_REQUESTS {
            self.connection.asked += 1;
            let id = ["procwarden-", itoa::Buffer::new().format(self.connection.asked)].concat();
            let request = match self.request(&id) {
                Ok(request) => request,
                Err(seen) => return Ok(seen),
            };
            let question = self.asked.question;
            let reads = |status| question.reads(status);
            let answer = self.connection.ask(request.as_bytes(), reads).await?;
            self.answered = true;
            let status = answer.head.status;
            if status == 401 && (self.asked.login.is_some() || !question.takes(status)) {
                if let Some(seen) = self.challenged(answer) {
                    return Ok(seen);
                }
            } else if question.takes(status) {
                if let Some(session) = self.connection.session.as_mut() {
                    session.accepted = true;
                }
                return Ok(question.read(status, answer.body(), &id));
            } else {
                return Ok(ApiSeen::HttpStatus(status));
            }
        }
        self.connection.session = None;
        Ok(refused("the server calls every nonce stale"))
    }

    /// Takes a 401. `None`: there is a new nonce to try with.
    fn challenged(&mut self, answer: Answer) -> Option<ApiSeen> {
        let challenges = answer.head.challenges;
        let session = self.connection.session.take();
        let Some(login) = self.asked.login else {
            return Some(refused("the server asks for a login and the node has none"));
        };
        let basic = challenges.iter().any(|challenge| challenge.is("Basic"));
        let Some(challenge) = digest::choose(challenges) else {
            return Some(refused(if basic {
                "the server offers only Basic, which would send the password in clear"
            } else {
                "the server offers no Digest login with MD5"
            }));
        };
        if let Some(session) = session {
            // A server that says nothing of staleness may still have forgotten a nonce that it took before.
            let stale = challenge.stale().unwrap_or(session.accepted);
            if !stale {
                return Some(refused("the server refuses the user name or the password"));
            }
        }
        let mut random = [0_u8; 8];
        if let Err(error) = getrandom::fill(&mut random) {
            return Some(ApiSeen::Io(format!("no random numbers: {error}")));
        }
        let Parts { verb, path, .. } = self.asked.question;
        let session = Session::new(&challenge, &digest::cnonce(random), login, verb, path);
        if !session.texts().all(wire::is_sendable) {
            return Some(refused("the user name has characters that HTTP cannot send"));
        }
        self.connection.session = Some(session);
        None
    }

    /// Head and body in one piece, so that they are one packet.
    fn request(&mut self, id: &str) -> Result<String, ApiSeen> {
        let Some(begin) = self.asked.begin else {
            return Err(ApiSeen::Dns("the host is no name that can be asked for".to_owned()));
        };
        let mut text = String::with_capacity(ROOM);
        text.push_str(begin);
        if let Some(session) = self.connection.session.as_mut() {
            text.push_str("Authorization: ");
            session.answer(&mut text);
            text.push_str("\r\n");
        }
        match &self.asked.question.body {
            Some((before, after)) => {
                let mut number = itoa::Buffer::new();
                let length = number.format(before.len() + id.len() + after.len());
                for part in ["Content-Length: ", length, "\r\n\r\n", before, id, after] {
                    text.push_str(part);
                }
            }
            None => text.push_str("\r\n"),
        }
        Ok(text)
    }
}

fn refused(text: &str) -> ApiSeen {
    ApiSeen::Unauthorized(text.to_owned())
}
