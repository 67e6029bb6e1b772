//! Bodies of lists: made once per snapshot, compressed once if somebody asks for it, answered with 304 if known.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::domain::Uptime;

/// Below this a compressed body saves no packet: one segment holds about 1400 bytes.
const COMPRESS_FROM: usize = 1400;

/// One JSON body with its marks.
#[derive(Debug)]
pub struct Prepared {
    plain: Bytes,
    gzip: OnceCell<Option<Bytes>>,
    hash: u64,
}

impl Prepared {
    /// Takes a finished JSON text.
    #[must_use]
    pub fn new(json: Vec<u8>) -> Self {
        // SipHash with fixed keys: the same content has the same mark in every process and after a restart.
        let mut hasher = DefaultHasher::new();
        hasher.write(&json);
        Self { hash: hasher.finish(), plain: json.into(), gzip: OnceCell::new() }
    }

    /// The answer to a request with these headers: 200 in the encoding it takes, or 304.
    pub async fn respond(&self, request: &HeaderMap) -> Response<Body> {
        let wants_gzip = self.plain.len() >= COMPRESS_FROM && takes_gzip(request);
        let gzip = if wants_gzip { self.compressed().await } else { None };
        let etag = if gzip.is_some() {
            format!("\"{:016x}-gzip\"", self.hash)
        } else {
            format!("\"{:016x}\"", self.hash)
        };
        let known = matches(request, &etag);
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(header::ETAG, etag);
        }
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if gzip.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        *response.body_mut() = Body::from(gzip.unwrap_or_else(|| self.plain.clone()));
        response
    }

    async fn compressed(&self) -> Option<Bytes> {
        let make = || async {
            let plain = self.plain.clone();
            // 40 ms for ten thousand nodes (measured): not on a thread that serves others.
            let done = tokio::task::spawn_blocking(move || compress(&plain)).await;
            done.ok().and_then(Result::ok)
        };
        self.gzip.get_or_init(make).await.clone()
    }
}

fn compress(plain: &[u8]) -> std::io::Result<Bytes> {
    let out = Vec::with_capacity(plain.len() / 6);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

/// Does the request take gzip at least as gladly as no encoding (RFC 9110, section 12.5.3)?
fn takes_gzip(request: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, 0);
    for value in request.get_all(header::ACCEPT_ENCODING) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight(parameters);
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "*" => any = Some(weight),
                "identity" => identity = weight,
                _ => {}
            }
        }
    }
    gzip.or(any).is_some_and(|weight| weight > 0 && weight >= identity)
}

/// `q=` in thousandths; 1000 where there is none.
fn weight(parameters: &str) -> u16 {
    let Some(text) = parameters.trim().strip_prefix("q=").or(parameters.trim().strip_prefix("Q="))
    else {
        return 1000;
    };
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let thousandths = format!("{fraction:0<3}").get(..3).and_then(|it| it.parse::<u16>().ok());
    match whole {
        "0" => thousandths.unwrap_or(0),
        _ => 1000,
    }
}

/// Is this mark among those of `If-None-Match`? Weak comparison, RFC 9110, section 13.1.2.
fn matches(request: &HeaderMap, etag: &str) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let list = value.to_str().unwrap_or_default();
        list.trim() == "*"
            || list.split(',').any(|it| {
                let it = it.trim();
                it.strip_prefix("W/").unwrap_or(it) == etag
            })
    })
}

/// A body that holds for one generation of the snapshot, and until a moment after which it would read otherwise.
#[derive(Debug)]
struct Held<T> {
    generation: u64,
    until: Uptime,
    value: Arc<T>,
}

/// The last body made; made anew by whoever comes first after it no longer holds.
#[derive(Debug)]
pub struct Cache<T> {
    current: ArcSwapOption<Held<T>>,
    making: Mutex<()>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { current: ArcSwapOption::empty(), making: Mutex::default() }
    }
}

impl<T> Cache<T> {
    /// What holds at `now` for this generation; `make` gives it with the last moment at which it does.
    pub fn get(&self, generation: u64, now: Uptime, make: impl FnOnce() -> (T, Uptime)) -> Arc<T> {
        if let Some(value) = self.held(generation, now) {
            return value;
        }
        // A poisoned lock guards no data: whoever died there left the old body in place.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.held(generation, now) {
            return value;
        }
        let (value, until) = make();
        let value = Arc::new(value);
        self.current.store(Some(Arc::new(Held { generation, until, value: Arc::clone(&value) })));
        value
    }

    fn held(&self, generation: u64, now: Uptime) -> Option<Arc<T>> {
        let held = self.current.load();
        let held = held.as_ref()?;
        (held.generation == generation && now <= held.until).then(|| Arc::clone(&held.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.clone(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn an_encoding_is_chosen_by_weight() {
        for (accept, gzip) in [
            ("gzip, deflate, br", true),
            ("GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("identity, gzip;q=0.5", false),
            ("identity;q=0.5, gzip", true),
            ("*", true),
            ("*;q=0", false),
            ("*, gzip;q=0", false),
            ("br", false),
        ] {
            assert_eq!(
                takes_gzip(&request(&[(header::ACCEPT_ENCODING, accept)])),
                gzip,
                "{accept}"
            );
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn each_encoding_has_its_mark_and_a_known_one_is_not_sent_again() {
        let body = Prepared::new(vec![b'x'; 5000]);
        let plain = body.respond(&HeaderMap::new()).await;
        let packed = body.respond(&request(&[(header::ACCEPT_ENCODING, "gzip")])).await;
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

    #[test]
    fn a_body_is_made_once_per_generation_and_again_when_its_time_is_over() {
        let cache = Cache::default();
        let mut made = 0;
        let mut get = |generation, now| {
            *cache.get(generation, Uptime(now), || {
                made += 1;
                (made, Uptime(10))
            })
        };
        assert_eq!([get(1, 0), get(1, 10), get(1, 11), get(2, 5), get(2, 6)], [1, 1, 2, 3, 3]);
    }
}
