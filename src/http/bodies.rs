//! Bodies of lists: compressed once if somebody asks for it, answered with 304 if known.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;

use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::encodings::Encoding;

/// Below this a compressed body saves no packet: one segment holds about 1400 bytes.
const COMPRESS_FROM: usize = 1400;

/// The library's default: less than half of the bytes of gzip's default at 10,000 nodes (28 KB against 65 KB, measured).
const ZSTD_LEVEL: i32 = 3;

/// One body with its marks.
#[derive(Debug)]
pub struct Prepared {
    kind: HeaderValue,
    plain: Bytes,
    gzip: OnceCell<Option<Bytes>>,
    zstd: OnceCell<Option<Bytes>>,
    /// One per encoding.
    etags: [HeaderValue; Encoding::ALL.len()],
}

impl Prepared {
    /// Takes a finished JSON text.
    #[must_use]
    pub fn new(json: impl Into<Bytes>) -> Self {
        Self::of(HeaderValue::from_static("application/json"), json)
    }

    /// Takes a finished text of this media type.
    #[must_use]
    pub fn of(kind: HeaderValue, text: impl Into<Bytes>) -> Self {
        let plain = text.into();
        // SipHash with fixed keys: the same content has the same mark in every process and after a restart.
        let mut hasher = DefaultHasher::new();
        hasher.write(&plain);
        let hash = hasher.finish();
        let etags = Encoding::ALL.map(|encoding| {
            let text = format!("\"{hash:016x}{}\"", encoding.suffix());
            // Hexadecimal digits and a word: always a value.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
        });
        Self { kind, plain, gzip: OnceCell::new(), zstd: OnceCell::new(), etags }
    }

    /// The text.
    #[must_use]
    pub const fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The answer to a request with these headers: 200 in the encoding it takes, or 304.
    pub async fn respond(&self, request: &HeaderMap) -> Response<Bytes> {
        if let Some(response) = self.respond_now(request) {
            return response;
        }
        let encoding = self.encoding(request);
        match self.packed(encoding).await {
            Some(body) => self.full(encoding, body),
            // What cannot be packed is sent as it is.
            None => self.full(Encoding::Identity, self.plain.clone()),
        }
    }

    /// The same where nothing has to be made first. A 304 never has: the marks are known before the bodies.
    #[must_use]
    pub fn respond_now(&self, request: &HeaderMap) -> Option<Response<Bytes>> {
        let encoding = self.encoding(request);
        let etag = &self.etags[encoding as usize];
        if matches(request, etag) {
            let mut response = self.head(encoding, Bytes::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
        let made = match encoding {
            Encoding::Identity => return Some(self.full(encoding, self.plain.clone())),
            Encoding::Gzip => self.gzip.get()?,
            Encoding::Zstd => self.zstd.get()?,
        };
        made.as_ref().map(|body| self.full(encoding, body.clone()))
    }

    fn encoding(&self, request: &HeaderMap) -> Encoding {
        if self.plain.len() < COMPRESS_FROM {
            Encoding::Identity
        } else {
            Encoding::chosen(request)
        }
    }

    fn head(&self, encoding: Encoding, body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etags[encoding as usize].clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn full(&self, encoding: Encoding, body: Bytes) -> Response<Bytes> {
        let mut response = self.head(encoding, body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        if let Some(word) = encoding.word() {
            headers.insert(header::CONTENT_ENCODING, word);
        }
        response
    }

    async fn packed(&self, encoding: Encoding) -> Option<Bytes> {
        let (cell, pack): (_, Pack) = match encoding {
            Encoding::Identity => return Some(self.plain.clone()),
            Encoding::Gzip => (&self.gzip, gzip),
            Encoding::Zstd => (&self.zstd, zstd),
        };
        let make = || async {
            let plain = self.plain.clone();
            // 40 ms for ten thousand nodes (measured): not on a thread that serves others.
            let done = tokio::task::spawn_blocking(move || pack(&plain)).await;
            done.ok().and_then(Result::ok)
        };
        cell.get_or_init(make).await.clone()
    }
}

/// Packs a text.
type Pack = fn(&[u8]) -> std::io::Result<Bytes>;

fn gzip(plain: &[u8]) -> std::io::Result<Bytes> {
    let out = Vec::with_capacity(plain.len() / 6);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

fn zstd(plain: &[u8]) -> std::io::Result<Bytes> {
    zstd::bulk::compress(plain, ZSTD_LEVEL).map(Bytes::from)
}

/// Is this mark among those of `If-None-Match`? Weak comparison, RFC 9110, section 13.1.2.
fn matches(request: &HeaderMap, etag: &HeaderValue) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let list = value.to_str().unwrap_or_default();
        list.trim() == "*"
            || list.split(',').any(|it| {
                let it = it.trim();
                it.strip_prefix("W/").unwrap_or(it).as_bytes() == etag.as_bytes()
            })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn request(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.clone(), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn accept(encoding: &str) -> HeaderMap {
        request(&[(header::ACCEPT_ENCODING, encoding)])
    }

    #[tokio::test]
    async fn each_encoding_has_its_mark_and_a_known_one_is_not_sent_again() {
        let body = Prepared::new(vec![b'x'; 5000]);
        let plain = body.respond(&HeaderMap::new()).await;
        let packed = body.respond(&accept("gzip")).await;
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
        let (plain, packed) =
            (plain.headers()[header::ETAG].clone(), packed.headers()[header::ETAG].clone());
        assert_ne!(plain, packed);
        let tag = plain.to_str().unwrap();
        for (known, status) in [
            (tag.to_owned(), 304),
            (format!("\"a\" , W/{tag}"), 304),
            ("*".to_owned(), 304),
            (packed.to_str().unwrap().to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            let answer = body.respond(&request(&[(header::IF_NONE_MATCH, &known)])).await;
            assert_eq!(answer.status().as_u16(), status, "{known}");
            assert_eq!(answer.headers()[header::ETAG], plain);
            assert_eq!(answer.headers()[header::VARY], "Accept-Encoding");
        }
    }

    #[tokio::test]
    async fn a_known_body_is_told_before_it_is_packed_again() {
        let text = b"{\"a\":\"b\"},".repeat(500);
        let (old, new) = (Prepared::new(text.clone()), Prepared::new(text.clone()));
        for encoding in ["gzip", "zstd"] {
            let first = old.respond(&accept(encoding)).await;
            assert_eq!(first.headers()[header::CONTENT_ENCODING], encoding);
            let mut again = accept(encoding);
            again.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
            let answer = new.respond_now(&again).unwrap();
            assert_eq!((answer.status().as_u16(), answer.body().len()), (304, 0));
            assert_eq!(answer.headers()[header::ETAG], first.headers()[header::ETAG]);
            assert!(new.respond_now(&accept(encoding)).is_none(), "nothing was packed for it");
            assert!(old.respond_now(&accept(encoding)).is_some());
            let mut unpacked = Vec::new();
            match encoding {
                "gzip" => {
                    let mut reader = flate2::read::GzDecoder::new(first.body().as_ref());
                    reader.read_to_end(&mut unpacked).unwrap();
                }
                _ => unpacked = zstd::bulk::decompress(first.body(), text.len()).unwrap(),
            }
            assert_eq!(unpacked, text);
        }
    }
}
