//! HTTP/1.1 as far as one answer needs it: what its head says, where its body ends, and what may
//! be sent. Pure.

use std::mem::MaybeUninit;

use super::digest::{self, Challenge};

/// Longest head and longest body that is read, in bytes; a real answer has 300 all together.
pub const LIMIT: usize = 64 * 1024;

/// Most headers of an answer; the real server sends five.
const MOST_HEADERS: usize = 100;

/// Longest line before a chunk, in bytes: its size, and extensions that nobody sends.
const CHUNK_LINE: usize = 256;

/// May it stand in a header (RFC 9110, section 5.5)?
#[must_use]
pub fn is_sendable(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// An answer is no HTTP, or too much of it; for people.
pub type Fault = &'static str;

const NOT_HTTP: Fault = "the answer is not HTTP";
const BAD_BODY: Fault = "the answer's body is not HTTP";
const LONG_HEAD: Fault = "the answer's header is longer than 64 KiB";
const LONG_BODY: Fault = "the answer is longer than 64 KiB";

/// What the head of an answer says.
#[derive(Debug)]
pub struct Head {
    /// 200 and so on.
    pub status: u16,
    /// Where the body begins.
    pub size: usize,
    /// How logins are asked for; only of a 401.
    pub challenges: Vec<Challenge>,
    /// The server goes on with this connection.
    pub stays: bool,
    /// Where the body ends.
    pub length: Length,
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so many bytes.
    Bytes(usize),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Reads the head of an answer, passing over interim ones; `None` while it is not whole.
///
/// # Errors
/// [`Fault`]
pub fn head(raw: &[u8]) -> Result<Option<Head>, Fault> {
    let mut begin = 0;
    while let Some(mut head) = one_head(&raw[begin..])? {
        begin += head.size;
        if !matches!(head.status, 100 | 102..=199) {
            head.size = begin;
            return Ok(Some(head));
        }
    }
    if raw.len() > LIMIT { Err(LONG_HEAD) } else { Ok(None) }
}

fn one_head(raw: &[u8]) -> Result<Option<Head>, Fault> {
    const BEGIN: &[u8] = b"HTTP/1.";
    // What does not begin so will never be a head, whatever follows.
    let known = raw.len().min(BEGIN.len());
    if raw[..known] != BEGIN[..known] {
        return Err(NOT_HTTP);
    }
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        raw,
        &mut headers,
    );
    let httparse::Status::Complete(size) = parsed.map_err(|_| NOT_HTTP)? else {
        return Ok(None);
    };
    if size > LIMIT {
        return Err(LONG_HEAD);
    }
    let status = response.code.unwrap_or_default();
    let said = Said::of(response.headers)?;
    let challenges = if status == 401 { challenges(response.headers) } else { Vec::new() };
    let stays = if response.version == Some(1) { !said.closes } else { said.keeps };
    // Whatever its headers say, these have no body (RFC 9112, section 6.3).
    let length = if matches!(status, 204 | 304) { Length::Bytes(0) } else { said.length() };
    Ok(Some(Head { status, size, challenges, stays, length }))
}

/// What the headers say of body and connection.
#[derive(Debug, Default)]
struct Said {
    /// `Content-Length`
    bytes: Option<usize>,
    /// `Transfer-Encoding`, and whether its last word is `chunked`.
    encoded: Option<bool>,
    /// `Connection: close`
    closes: bool,
    /// `Connection: keep-alive`
    keeps: bool,
}

impl Said {
    fn of(headers: &[httparse::Header<'_>]) -> Result<Self, Fault> {
        let mut said = Self::default();
        for httparse::Header { name, value } in headers {
            if name.eq_ignore_ascii_case("content-length") {
                let bytes = std::str::from_utf8(value).ok().and_then(decimal).ok_or(NOT_HTTP)?;
                if said.bytes.replace(bytes).is_some_and(|before| before != bytes) {
                    return Err(NOT_HTTP);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                said.encoded = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            } else if name.eq_ignore_ascii_case("connection") {
                for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    said.closes |= word.eq_ignore_ascii_case(b"close");
                    said.keeps |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        // Two words about one length: whoever reads them otherwise takes the rest for another answer.
        said.closes |= said.encoded.is_some() && said.bytes.is_some();
        Ok(said)
    }

    const fn length(&self) -> Length {
        match (self.encoded, self.bytes) {
            (Some(true), _) => Length::Chunked,
            (None, Some(bytes)) => Length::Bytes(bytes),
            (Some(false), _) | (None, None) => Length::Close,
        }
    }
}

/// A number in digits alone: `parse` would take a sign as well. One that is too large is too long in any case.
fn decimal(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

fn challenges(headers: &[httparse::Header<'_>]) -> Vec<Challenge> {
    let asked = headers.iter().filter(|it| it.name.eq_ignore_ascii_case("www-authenticate"));
    asked.flat_map(|it| digest::parse(&String::from_utf8_lossy(it.value))).collect()
}

/// A body on its way in.
#[derive(Debug)]
pub struct Body {
    length: Length,
    /// How much of what came is in `chunks` already.
    taken: usize,
    chunks: Vec<u8>,
}

/// A body that came to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// So many bytes of what came are the body's, as they were sent.
    pub used: usize,
    /// What they say, if they are not it themselves.
    pub chunks: Option<Vec<u8>>,
}

impl Body {
    /// One that ends so.
    #[must_use]
    pub const fn new(length: Length) -> Self {
        Self { length, taken: 0, chunks: Vec::new() }
    }

    /// Looks at all that came after the head; `None` if there is more to come.
    ///
    /// # Errors
    /// [`Fault`]
    pub fn look(&mut self, raw: &[u8], closed: bool) -> Result<Option<Whole>, Fault> {
        let whole = match self.length {
            Length::Bytes(bytes) if bytes > LIMIT => return Err(LONG_BODY),
            Length::Bytes(bytes) => (raw.len() >= bytes).then_some(bytes),
            Length::Close => closed.then_some(raw.len()),
            Length::Chunked => self.take_chunks(raw)?,
        };
        match whole {
            None if raw.len() > LIMIT => Err(LONG_BODY),
            whole => Ok(whole.map(|used| Whole { used, chunks: self.joined() })),
        }
    }

    fn joined(&mut self) -> Option<Vec<u8>> {
        (self.length == Length::Chunked).then(|| std::mem::take(&mut self.chunks))
    }

    /// Takes every chunk that is whole; where the body ended, once it did.
    fn take_chunks(&mut self, raw: &[u8]) -> Result<Option<usize>, Fault> {
        loop {
            let rest = &raw[self.taken..];
            // The parser takes a line without digits for a size of 0.
            if rest.first().is_some_and(|digit| !digit.is_ascii_hexdigit()) {
                return Err(BAD_BODY);
            }
            let (line, size) = match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete(found)) => found,
                Ok(httparse::Status::Partial) if rest.len() < CHUNK_LINE => return Ok(None),
                _ => return Err(BAD_BODY),
            };
            let size = usize::try_from(size).ok().filter(|size| *size <= LIMIT).ok_or(LONG_BODY)?;
            let Some(end) = rest.get(line + size..line + size + 2) else { return Ok(None) };
            if size == 0 {
                // What follows otherwise are trailers. They say nothing to us, and are left unread.
                let end = if end == b"\r\n" { line + 2 } else { line };
                return Ok(Some(self.taken + end));
            }
            if end != b"\r\n" {
                return Err(BAD_BODY);
            }
            self.chunks.extend_from_slice(&rest[line..line + size]);
            self.taken += line + size + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (u16, Length, bool) {
        let head = head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.size, text.len());
        (head.status, head.length, head.stays)
    }

    #[test]
    fn heads_as_a_table() {
        let table = [
            ("HTTP/1.1 200 Ok\r\nContent-Length: 5\r\n\r\n", (200, Length::Bytes(5), true)),
            (
                "HTTP/1.1 200\r\ncontent-length:5\r\nCONTENT-LENGTH: 5\r\n\r\n",
                (200, Length::Bytes(5), true),
            ),
            ("HTTP/1.1 200 Ok\nContent-Length: 5\n\n", (200, Length::Bytes(5), true)),
            ("HTTP/1.1 200 Ok\r\n\r\n", (200, Length::Close, true)),
            (
                "HTTP/1.1 200 Ok\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n",
                (200, Length::Chunked, true),
            ),
            ("HTTP/1.1 200 Ok\r\nTransfer-Encoding: gzip\r\n\r\n", (200, Length::Close, true)),
            (
                "HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                (200, Length::Chunked, false),
            ),
            ("HTTP/1.1 200 Ok\r\nConnection: x, Close\r\n\r\n", (200, Length::Close, false)),
            ("HTTP/1.0 200 Ok\r\nContent-Length: 0\r\n\r\n", (200, Length::Bytes(0), false)),
            ("HTTP/1.0 200 Ok\r\nConnection: keep-alive\r\n\r\n", (200, Length::Close, true)),
            (
                "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Soon\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
                (500, Length::Close, true),
            ),
            ("HTTP/1.1 101 Other\r\n\r\n", (101, Length::Close, true)),
            ("HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", (204, Length::Bytes(0), true)),
            ("HTTP/1.1 304 Same\r\n\r\n", (304, Length::Bytes(0), true)),
            (
                "HTTP/1.1 200 Ok\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                (200, Length::Bytes(usize::MAX), true),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(parsed(text), expected, "{text}");
            for end in 0..text.len() {
                assert!(head(&text.as_bytes()[..end]).unwrap().is_none(), "{}", &text[..end]);
            }
        }
    }

    #[test]
    fn what_is_no_head_is_refused_as_soon_as_it_shows() {
        for text in [
            "S",
            "\r\nHTTP/1.1 200 Ok\r\n\r\n",
            "HTTP/2.0 200 Ok\r\n",
            "HTTP/1.1 2x0",
            "HTTP/1.1 200 Ok\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 Ok\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 Ok\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 Ok\r\nno colon\r\n",
        ] {
            assert_eq!(head(text.as_bytes()).unwrap_err(), NOT_HTTP, "{text}");
        }
        let many = format!("HTTP/1.1 200 Ok\r\n{}", "A: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(head(many.as_bytes()).unwrap_err(), NOT_HTTP);
        let long = format!("HTTP/1.1 200 Ok\r\nA: {}", "b".repeat(LIMIT));
        assert_eq!(head(long.as_bytes()).unwrap_err(), LONG_HEAD);
        let interim = "HTTP/1.1 102 Wait\r\n\r\n".repeat(LIMIT / 20);
        assert_eq!(head(interim.as_bytes()).unwrap_err(), LONG_HEAD);
    }

    /// Gives a body byte by byte: nothing may be whole before its last one.
    fn bytewise(length: Length, raw: &[u8]) -> Result<Option<Whole>, Fault> {
        let mut body = Body::new(length);
        for end in 0..raw.len() {
            if let Some(whole) = body.look(&raw[..end], false)? {
                return Ok(Some(whole));
            }
        }
        body.look(raw, false)
    }

    #[test]
    fn chunks_come_in_any_pieces() {
        let raw = b"3\r\nabc\r\n0a;x=y\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n";
        let chunks = Some(b"abc0123456789\n".to_vec());
        let whole = Whole { used: raw.len(), chunks };
        assert_eq!(bytewise(Length::Chunked, raw).unwrap().as_ref(), Some(&whole));
        let more = [raw.as_slice(), b"HTTP/1.1"].concat();
        let found = Body::new(Length::Chunked).look(&more, false).unwrap();
        assert_eq!(found, Some(whole), "what follows is not the body's");
        let trailers = b"1\r\na\r\n0\r\nA: b\r\n\r\n";
        let whole = Body::new(Length::Chunked).look(trailers, false).unwrap().unwrap();
        assert!(whole.used < trailers.len(), "trailers are left unread");
        for bad in ["x\r\n", "1\r\nabc", "-1\r\n", "\r\n", &"1;".repeat(CHUNK_LINE)] {
            assert_eq!(bytewise(Length::Chunked, bad.as_bytes()), Err(BAD_BODY), "{bad:?}");
        }
        for long in ["10001\r\n", "fffffffffffffff\r\n"] {
            assert_eq!(bytewise(Length::Chunked, long.as_bytes()), Err(LONG_BODY), "{long:?}");
        }
        let small = "1\r\na\r\n".repeat(LIMIT / 6 + 1);
        assert_eq!(Body::new(Length::Chunked).look(small.as_bytes(), false), Err(LONG_BODY));
    }

    #[test]
    fn a_body_ends_where_its_head_said() {
        let whole = |used| Ok(Some(Whole { used, chunks: None }));
        assert_eq!(bytewise(Length::Bytes(3), b"abcd"), whole(3));
        assert_eq!(Body::new(Length::Bytes(3)).look(b"ab", true), Ok(None));
        assert_eq!(Body::new(Length::Bytes(0)).look(b"", false), whole(0));
        assert_eq!(Body::new(Length::Bytes(LIMIT + 1)).look(b"", false), Err(LONG_BODY));
        assert_eq!(Body::new(Length::Close).look(b"ab", false), Ok(None));
        assert_eq!(Body::new(Length::Close).look(b"ab", true), whole(2));
        assert_eq!(Body::new(Length::Close).look(&vec![0; LIMIT + 1], false), Err(LONG_BODY));
    }
}
