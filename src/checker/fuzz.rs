//! For `fuzz/`: what an RPC server answers, byte by byte its own.

#![allow(clippy::missing_panics_doc)] // A panic is how a target tells what it found.

use super::digest::{Login, Session, choose, parse};
use super::{answer as answers, wire};
use crate::domain::observation::ApiSeen;

/// Reads text as a `WWW-Authenticate` header and answers what can be answered.
pub fn challenge(bytes: &[u8]) {
    let Ok(header) = std::str::from_utf8(bytes) else { return };
    // A header as it was taken out of a head has no line's end in it; what is sent is held against that once more.
    if header.contains(['\r', '\n']) {
        return;
    }
    let Some(challenge) = choose(parse(header)) else { return };
    let _ = challenge.stale();
    let login = Login { username: "monero", password: "a-canary-of-a-password" };
    let mut session = Session::new(&challenge, "0a4f113b0a4", login, "POST", "/json_rpc");
    let mut line = String::new();
    session.answer(&mut line);
    assert!(!line.contains("a-canary-of-a-password"), "the password is sent");
    assert!(!line.contains(['\r', '\n']), "one header becomes several");
}

/// Reads bytes as an HTTP answer: its head, then its body, whole and cut at each length.
pub fn head(bytes: &[u8]) {
    let Ok(Some(head)) = wire::head(bytes) else { return };
    assert!(head.size <= bytes.len());
    let rest = &bytes[head.size..];
    for end in [rest.len() / 2, rest.len()] {
        let mut body = wire::Body::new(head.length);
        if let Ok(Some(whole)) = body.look(&rest[..end], true) {
            assert!(whole.used <= end && whole.used <= wire::LIMIT);
        }
    }
}

/// Reads bytes as the body of an answer to `get_version`.
pub fn answer(bytes: &[u8]) {
    if let ApiSeen::RpcError(_, text) = answers::read(bytes, "7") {
        assert!(text.chars().count() <= 200, "a server's text is cut");
    }
}
