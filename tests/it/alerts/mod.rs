//! Alerts: who is told what, once, whatever happens to who tells and to who is told.

mod fleet;
mod mail;
mod migrations;
mod nodes;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::fake::{Manner, serve_by};
use crate::support::{Warden, db, eventually};

/// Longer than anything takes here on a busy machine; nothing that works waits for it.
const SOON: Duration = Duration::from_secs(60);

/// A node's server that works until it is told to fail.
struct Switch {
    port: u16,
    fails: Arc<AtomicBool>,
}

impl Switch {
    fn start() -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let asked = fails.clone();
        let port = serve_by(move |request| {
            if request.is_empty() {
                return Manner::Silent;
            }
            if asked.load(Ordering::SeqCst) {
                return Manner::answers("500 Internal Server Error", "{}");
            }
            let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let id = serde_json::from_str::<Value>(body).unwrap_or_default()["id"].to_string();
            let result = "{\"version\":65561,\"release\":false}";
            let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}");
            Manner::answers("200 OK", &answer)
        });
        Self { port, fails }
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

/// Waits until so many turns of nodes are on record.
async fn turns(warden: &Warden, count: usize) {
    eventually(SOON, || async {
        let events = db::events_of(warden.database(), "node").len();
        if events >= count { Ok(()) } else { Err(format!("{events} events")) }
    })
    .await;
}

/// Rows that wait to be sent.
fn waiting(warden: &Warden) -> usize {
    db::query(warden.database(), "SELECT id FROM procwarden_outbox").len()
}

/// Waits until nothing waits to be sent.
async fn nothing_waits(warden: &Warden) {
    eventually(SOON, || async {
        match waiting(warden) {
            0 => Ok(()),
            rows => Err(format!("{rows} rows; the log:\n{}", warden.log())),
        }
    })
    .await;
}

/// Waits until `/readyz?verbose` says this of alerts; the trouble that it tells.
async fn alerts_are(warden: &Warden, word: &str) -> String {
    warden
        .until("/readyz?verbose", SOON, |answer| {
            assert_eq!(answer.status, 200, "who cannot be told is no reason");
            let components = &answer.json["components"];
            let trouble = components["alerts_trouble"].as_str().unwrap_or_default().to_owned();
            (components["alerts"] == word).then_some(trouble)
        })
        .await
}

/// A figure of `/metrics`, such as `procwarden_alerts_pending{channel="webhook"}`.
async fn figure(warden: &Warden, name: &str) -> u64 {
    let answer = warden.get("/metrics").await;
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim().parse().unwrap()
}
