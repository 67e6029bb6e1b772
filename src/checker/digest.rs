//! HTTP Digest (RFC 2617) for one connection: reading challenges, counting nonces, computing answers. Pure.
//!
//! Only MD5 with `qop=auth` is spoken: it is what `monero-wallet-rpc` and `monerod` take (measured; they
//! offer MD5-sess beside it, and refuse SHA-256 and `auth-int`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use md5::{Digest as _, Md5};

/// One challenge of a `WWW-Authenticate` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `Digest`, `Basic`, ... as the server wrote it.
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// Is it of this scheme, whatever the case?
    #[must_use]
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// `stale`: the credentials were right, only the nonce was not. `None` where the server does not say.
    #[must_use]
    pub fn stale(&self) -> Option<bool> {
        self.get("stale").map(|word| word.eq_ignore_ascii_case("true"))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// A challenge that we can answer.
    fn is_ours(&self) -> bool {
        self.is("Digest")
            && self.get("nonce").is_some()
            && self.get("algorithm").is_none_or(|word| word.eq_ignore_ascii_case("MD5"))
            && self.get("qop").is_some_and(|list| {
                list.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth"))
            })
    }
}

/// The challenges of one header; a header may hold several, and a server may send several headers.
///
/// Forgiving as servers are: no space after commas, `=` inside values, quotes or none.
#[must_use]
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return found;
        }
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = read_value(value.trim_start_matches([' ', '\t']));
            if let Some(challenge) = found.last_mut() {
                challenge.params.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            found.push(Challenge { scheme: word.to_owned(), params: Vec::new() });
            rest = after;
        }
    }
}

/// A quoted string without its quotes and escapes, or everything up to the next comma; and what follows.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find(',').unwrap_or(text.len()));
        return (value.trim_end().to_owned(), after);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The challenge to answer, if there is one among them.
#[must_use]
pub fn choose(challenges: Vec<Challenge>) -> Option<Challenge> {
    challenges.into_iter().find(Challenge::is_ours)
}

/// A nonce in use on one connection, with the count of its uses. All of an answer that stays the same is made once.
pub struct Session {
    /// The header up to the count.
    begin: Box<str>,
    /// And after the response.
    end: Box<str>,
    /// What is hashed before the count and after it (RFC 7616, section 3.4.1). Who has it can log in, so it is never shown.
    hashed: [Box<str>; 2],
    used: u32,
    /// Whether the server has taken an answer made with this nonce.
    pub accepted: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Who logs in.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Sent in clear.
    pub username: &'a str,
    /// Never sent.
    pub password: &'a str,
}

impl Session {
    /// Begins to use the nonce of a challenge that [`choose`] gave, to log in for one kind of request. `cnonce` must be fresh
    /// random text without quotes; it serves as long as the nonce does, since the count makes each answer another one.
    #[must_use]
    pub fn new(
        challenge: &Challenge,
        cnonce: &str,
        login: Login<'_>,
        method: &str,
        uri: &str,
    ) -> Self {
        let param = |name| challenge.get(name).unwrap_or_default();
        let (realm, nonce) = (param("realm"), param("nonce"));
        let mut end = "\"".to_owned();
        if challenge.get("algorithm").is_some() {
            end.push_str(", algorithm=MD5");
        }
        if let Some(opaque) = challenge.get("opaque") {
            end.push_str(", opaque=");
            end.push_str(&quote(opaque));
        }
        let begin = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, cnonce=\"{cnonce}\", nc=",
            quote(login.username),
            quote(realm),
            quote(nonce),
            quote(uri),
        );
        let ha1 = md5_hex(&[login.username, realm, login.password]);
        let ha2 = md5_hex(&[method, uri]);
        let hashed = [format!("{ha1}:{nonce}:"), format!(":{cnonce}:auth:{ha2}")];
        Self {
            begin: begin.into(),
            end: end.into(),
            hashed: hashed.map(Into::into),
            used: 0,
            accepted: false,
        }
    }

    /// The parts of the header that somebody else chose.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        [&*self.begin, &*self.end].into_iter()
    }

    /// Writes the `Authorization` header of the next request.
    ///
    /// The count goes up by one each time, as the real server demands (it refuses gaps and repetitions).
    pub fn answer(&mut self, into: &mut String) {
        self.used = self.used.wrapping_add(1);
        let count = hex(&self.used.to_be_bytes());
        let [before, after] = &self.hashed;
        let mut hash = Md5::new();
        for part in [&**before, &count, &**after] {
            hash.update(part);
        }
        let response = hex(&hash.finalize());
        for part in [&*self.begin, &count, ", qop=auth, response=\"", &response, &*self.end] {
            into.push_str(part);
        }
    }
}

/// Eleven characters: with a nonce of the real server's length two blocks are hashed for an answer, not three.
#[must_use]
pub fn cnonce(random: [u8; 8]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// MD5 over the parts joined with colons, in lower-case hex.
fn md5_hex(parts: &[&str]) -> String {
    let mut hash = Md5::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the example of the RFC.
    const CNONCE: &str = "0a4f113b";

    fn session(header: &str, login: Login<'_>, method: &str, uri: &str) -> Session {
        Session::new(&choose(parse(header)).unwrap(), CNONCE, login, method, uri)
    }

    fn answer(session: &mut Session) -> String {
        let mut text = String::new();
        session.answer(&mut text);
        text
    }

    fn response_of(header: &str) -> String {
        let all = parse(header);
        all[0].get("response").unwrap().to_owned()
    }

    /// RFC 2617, section 3.5.
    #[test]
    fn the_example_of_the_rfc() {
        let login = Login { username: "Mufasa", password: "Circle Of Life" };
        let mut session = session(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
            login,
            "GET",
            "/dir/index.html",
        );
        let header = answer(&mut session);
        assert_eq!(response_of(&header), "6629fae49393a05397450978507c4ef1");
        assert!(header.contains("nc=00000001"), "{header}");
        assert!(header.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""), "{header}");
        assert!(!header.contains("algorithm"), "{header}");
        let again = answer(&mut session);
        assert!(again.contains("nc=00000002"), "{again}");
        assert_ne!(response_of(&again), response_of(&header));
    }

    #[test]
    fn the_real_servers_challenge_without_spaces_and_with_equal_signs_in_the_nonce() {
        let all = parse(
            "Digest qop=\"auth\",algorithm=MD5,realm=\"monero-rpc\",nonce=\"vgWVLCuF+mGnTWAVJHHdUw==\",stale=false",
        );
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].get("nonce"), Some("vgWVLCuF+mGnTWAVJHHdUw=="));
        assert_eq!(all[0].stale(), Some(false));
        assert!(all[0].is_ours());
    }

    #[test]
    fn md5_is_picked_among_several_challenges() {
        let table = [
            (
                "Digest algorithm=MD5-sess,nonce=a==,qop=auth, Digest nonce=b==, qop=auth",
                Some("b=="),
            ),
            (
                "Basic realm=\"x, y\", digest nonce=\"c\\\"d\" , qop=\"auth-int, AUTH\", algorithm=\"md5\"",
                Some("c\"d"),
            ),
            ("Digest nonce=a, algorithm=SHA-256, qop=auth", None),
            ("Digest nonce=a, qop=auth-int", None),
            ("Digest nonce=a", None),
            ("Digest qop=auth", None),
            ("Basic realm=x", None),
            ("Negotiate YWJj==, Basic", None),
            ("nonce=a, qop=auth", None),
            ("Digest nonce=\"unclosed", None),
            (",,, ,", None),
            ("=", None),
        ];
        for (header, nonce) in table {
            let chosen = choose(parse(header));
            assert_eq!(chosen.as_ref().and_then(|c| c.get("nonce")), nonce, "{header}");
        }
    }

    #[test]
    fn staleness_is_what_the_server_says() {
        for (word, stale) in [("TRUE", Some(true)), ("\"true\"", Some(true)), ("no", Some(false))] {
            assert_eq!(parse(&format!("Digest stale={word}"))[0].stale(), stale);
        }
        assert_eq!(parse("Digest nonce=a")[0].stale(), None);
    }

    #[test]
    fn quotes_in_names_are_escaped_and_the_password_is_nowhere() {
        let login = Login { username: "us\"er\\", password: "pa:s\"s" };
        let challenge = "Digest nonce=\"n\", qop=auth, realm=\"a \\\"b\\\"\"";
        let mut session = session(challenge, login, "POST", "/json_rpc");
        let header = answer(&mut session);
        assert!(header.contains(r#"username="us\"er\\""#), "{header}");
        assert!(header.contains(r#"realm="a \"b\"""#), "{header}");
        assert!(!header.contains("pa:s"), "{header}");
        let ha1 = md5_hex(&["us\"er\\", "a \"b\"", "pa:s\"s"]);
        let ha2 = md5_hex(&["POST", "/json_rpc"]);
        assert_eq!(response_of(&header), md5_hex(&[&ha1, "n", "00000001", CNONCE, "auth", &ha2]));
    }
}
