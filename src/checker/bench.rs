//! For the micro-benchmarks: an answer by HTTP Digest.

use super::digest::{Login, Session, choose, parse};

/// A nonce in use.
#[derive(Debug)]
pub struct Digest(Session);

impl Digest {
    /// Begins with the challenge of a `WWW-Authenticate` header; none if it cannot be answered.
    #[must_use]
    pub fn new(header: &str) -> Option<Self> {
        choose(parse(header))
            .map(|challenge| Self(Session::new(&challenge, "0a4f113b0a4f113b".to_owned())))
    }

    /// The `Authorization` header of the next request.
    pub fn answer(&mut self) -> String {
        let login = Login { username: "monero", password: "a password of some length" };
        self.0.answer(login, "POST", "/json_rpc")
    }
}
