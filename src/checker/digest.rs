//! HTTP Digest (RFC 2617) for one connection: reading challenges, counting nonces, computing answers. Pure.
//!
//! Only MD5 with `qop=auth` is spoken: it is what `monero-wallet-rpc` and `monerod` take (measured; they
//! offer MD5-sess beside it, and refuse SHA-256 and `auth-int`).

use std::fmt;

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

/// `H(A1)` and `H(A2)` of RFC 7616, section 3.4. Who has the first can log in, so it is never shown.
struct Hashes {
    login: Box<str>,
    request: Box<str>,
}

impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashes")
    }
}

/// A nonce in use on one connection, with the count of its uses.
#[derive(Debug)]
pub struct Session {
    realm: Box<str>,
    nonce: Box<str>,
    cnonce: Box<str>,
    /// What every answer ends with.
    end: Box<str>,
    used: u32,
    /// Of the login and of the request, which stay what they are as long as the connection: made with the first answer.
    hashes: Option<Hashes>,
    /// Whether the server has taken an answer made with this nonce.
    pub accepted: bool,
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
    /// Begins to use the nonce of a challenge that [`choose`] gave. `cnonce` must be fresh random text without quotes; it
    /// serves as long as the nonce does, since the count makes each answer another one.
    #[must_use]
    pub fn new(challenge: &Challenge, cnonce: String) -> Self {
        let param = |name| challenge.get(name).unwrap_or_default();
        let mut end = String::new();
        if challenge.get("algorithm").is_some() {
            end.push_str(", algorithm=MD5");
        }
        if let Some(opaque) = challenge.get("opaque") {
            end.push_str(", opaque=");
            end.push_str(&quote(opaque));
        }
        Self {
            realm: param("realm").into(),
            nonce: param("nonce").into(),
            cnonce: cnonce.into(),
            end: end.into(),
            used: 0,
            hashes: None,
            accepted: false,
        }
    }

    /// The `Authorization` header of the next request.
    ///
    /// The count goes up by one each time, as the real server demands (it refuses gaps and repetitions).
    pub fn answer(&mut self, login: Login<'_>, method: &str, uri: &str) -> String {
        self.used = self.used.wrapping_add(1);
        let Self { realm, nonce, cnonce, end, hashes, .. } = self;
        let nc = format!("{:08x}", self.used);
        let Hashes { login: ha1, request: ha2 } = hashes.get_or_insert_with(|| Hashes {
            login: md5_hex(&[login.username, realm, login.password]).into(),
            request: md5_hex(&[method, uri]).into(),
        });
        let response = md5_hex(&[ha1, nonce, &nc, cnonce, "auth", ha2]);
        format!(
            "Digest username={}, realm={}, nonce={}, uri={}, cnonce=\"{cnonce}\", nc={nc}, qop=auth, \
             response=\"{response}\"{end}",
            quote(login.username),
            quote(realm),
            quote(nonce),
            quote(uri),
        )
    }
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
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the example of the RFC.
    const CNONCE: &str = "0a4f113b";

    fn session(header: &str) -> Session {
        Session::new(&choose(parse(header)).unwrap(), CNONCE.to_owned())
    }

    fn response_of(header: &str) -> String {
        let all = parse(header);
        all[0].get("response").unwrap().to_owned()
    }

    /// RFC 2617, section 3.5.
    #[test]
    fn the_example_of_the_rfc() {
        let mut session = session(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        );
        let login = Login { username: "Mufasa", password: "Circle Of Life" };
        let header = session.answer(login, "GET", "/dir/index.html");
        assert_eq!(response_of(&header), "6629fae49393a05397450978507c4ef1");
        assert!(header.contains("nc=00000001"), "{header}");
        assert!(header.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""), "{header}");
        assert!(!header.contains("algorithm"), "{header}");
        let again = session.answer(login, "GET", "/dir/index.html");
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
        let mut session = session("Digest nonce=\"n\", qop=auth, realm=\"a \\\"b\\\"\"");
        let login = Login { username: "us\"er\\", password: "pa:s\"s" };
        let header = session.answer(login, "POST", "/json_rpc");
        assert!(header.contains(r#"username="us\"er\\""#), "{header}");
        assert!(header.contains(r#"realm="a \"b\"""#), "{header}");
        assert!(!header.contains("pa:s"), "{header}");
        let ha1 = md5_hex(&["us\"er\\", "a \"b\"", "pa:s\"s"]);
        let ha2 = md5_hex(&["POST", "/json_rpc"]);
        assert_eq!(response_of(&header), md5_hex(&[&ha1, "n", "00000001", CNONCE, "auth", &ha2]));
    }
}
