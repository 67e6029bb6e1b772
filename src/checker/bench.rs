//! For the micro-benchmarks: an answer by HTTP Digest.

use super::digest::{Login, Session, choose, parse};

/// A nonce in use.
#[derive(Debug)]
pub struct Digest(Session);

impl Digest {
    /// Begins with the challenge of a `WWW-Authenticate` header; none if it cannot be answered.
    #[must_use]
    pub fn new(header: &str) -> Option<Self> {
        let login = Login { username: "monero", password: "a password of some length" };
        let challenge = choose(parse(header))?;
        Some(Self(Session::new(&challenge, "0a4f113b0a4", login, "POST", "/json_rpc")))
    }

    /// The `Authorization` header of the next request.
    pub fn answer(&mut self) -> String {
        let mut text = String::new();
        self.0.answer(&mut text);
        text
    }
}
