//! A receiver of webhooks that behaves as told, and checks what it gets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::fake::{Manner, serve_by};
use super::job::unix_now;
use super::{WardenConfig, eventually};

/// The key of the signatures.
pub const SECRET: &str = "webhook-secret";

/// What it does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// Takes it: 204.
    Takes,
    /// Answers with this status line.
    Answers(&'static str),
    /// Reads it and answers nothing.
    Hangs,
    /// Reads it and is gone before it answered.
    Dies,
    /// Is not there: closes each connection at once.
    Away,
}

/// A message that came.
#[derive(Debug, Clone)]
pub struct Message {
    /// `X-Procwarden-Delivery`.
    pub delivery: String,
    /// The body as it was sent.
    pub text: String,
    /// The same as JSON.
    pub json: Value,
    /// It was answered with success.
    pub taken: bool,
}

impl Message {
    /// `kind status name` of each alert in it, sorted.
    pub fn told(&self) -> Vec<String> {
        let alerts = self.json["alerts"].as_array().expect("alerts");
        let mut told: Vec<String> = alerts.iter().map(line).collect();
        told.sort();
        told
    }
}

/// `kind status name` of an alert; a migration's name is its id.
fn line(alert: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let subject = &alert["subject"];
    let name = if subject["name"].is_null() { &subject["id"] } else { &subject["name"] };
    format!("{} {} {}", text(&alert["kind"]), text(&alert["status"]), text(name))
}

/// A receiver.
pub struct Receiver {
    port: u16,
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    /// Listens until the test ends.
    pub fn start(mood: Mood) -> Self {
        let (mood, seen) = (Arc::new(Mutex::new(mood)), Arc::new(Mutex::new(Vec::new())));
        let (asked, kept) = (mood.clone(), seen.clone());
        let port = serve_by(move |request| {
            let mood = asked.lock().unwrap().clone();
            if request.is_empty() {
                return if mood == Mood::Away { Manner::Closes } else { Manner::Silent };
            }
            kept.lock().unwrap().push(read(request, mood == Mood::Takes));
            match mood {
                Mood::Takes => Manner::Says(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
                Mood::Answers(status) => Manner::answers(status, "{}"),
                Mood::Hangs => Manner::Silent,
                Mood::Dies | Mood::Away => Manner::Closes,
            }
        });
        Self { port, mood, seen }
    }

    /// The configuration of a warden that tells it.
    pub fn told(&self, config: WardenConfig) -> WardenConfig {
        config
            .set("alerts.webhook_url", self.url())
            .set("alerts.webhook_secret", SECRET)
            .or("alerts.group_wait", "300ms")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?key=hunter2", self.port)
    }

    /// From now on it behaves so.
    pub fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Every message that came, taken or not.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }

    /// Every message that was taken.
    pub fn taken(&self) -> Vec<Message> {
        self.seen().into_iter().filter(|message| message.taken).collect()
    }

    /// What was told in all messages that were taken, in their order; each once, whatever came twice.
    pub fn told_so_far(&self) -> Vec<String> {
        let mut known: Vec<Value> = Vec::new();
        let mut told = Vec::new();
        for message in self.taken() {
            for alert in message.json["alerts"].as_array().unwrap() {
                if !known.contains(&alert["id"]) {
                    known.push(alert["id"].clone());
                    told.push(line(alert));
                }
            }
        }
        told
    }

    /// Waits until this was told, in any order, and nothing else.
    pub async fn hears(&self, deadline: Duration, expected: &[&str]) {
        eventually(deadline, || async {
            let mut told = self.told_so_far();
            told.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    }

    /// Waits until so many messages came, taken or not.
    pub async fn is_tried(&self, deadline: Duration, times: usize) {
        eventually(deadline, || async {
            let seen = self.seen().len();
            if seen >= times { Ok(()) } else { Err(format!("{seen} times")) }
        })
        .await;
    }
}

/// Panics if the signature is not of this body and of now.
fn read(request: &str, taken: bool) -> Message {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let header = |wanted: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.unwrap_or_else(|| panic!("no {wanted}: {head}")).1.to_owned()
    };
    assert!(head.starts_with("POST /hook?key=hunter2 HTTP/1.1\r\n"), "{head}");
    assert_eq!(header("content-type"), "application/json");
    let signature = header("x-procwarden-signature");
    let (time, hex) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert!((time.parse::<i64>().unwrap() - unix_now()).abs() < 60, "{signature}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let sent: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    mac.verify_slice(&sent).expect("the signature");
    let json: Value = serde_json::from_str(body).unwrap();
    let delivery = header("x-procwarden-delivery");
    assert_eq!(json["delivery"], delivery.as_str());
    Message { delivery, text: body.to_owned(), json, taken }
}
