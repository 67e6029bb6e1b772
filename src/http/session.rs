//! `/session`: the read token exchanged for a cookie, for a page whose event stream cannot send a bearer token.
//!
//! A session is its end and the token that it was made of, sealed (AES-256-GCM) with a key made of that token's SHA-256,
//! which is what the server has of each token. So no instance keeps anything; it holds at every instance with this token
//! and over restarts, and ends when its token goes; who reads the hash in a configuration cannot make one, and who reads
//! the cookie does not learn the token. It lets read, never write, whichever token it was made of.

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

use super::AppState;
use super::access::Caller;
use super::auth;
use super::error::Problem;
use super::request::{Object, invalid, only};
use super::router::Base;
use crate::clock;
use crate::config::Token;
use crate::domain::Timestamp;

/// The cookie's name.
pub const NAME: &str = "procwarden_session";

/// How long a session lasts, in seconds: 30 days, so that a screen on a wall is not asked each week.
const LASTS: i64 = 30 * 24 * 3600;

/// What the key is made for, so that it means nothing elsewhere.
const LABEL: &[u8] = b"procwarden session 2\n";

/// Bytes of a nonce and of a tag (NIST SP 800-38D, 5.2).
const NONCE: usize = 12;
const TAG: usize = 16;

/// Does one of the request's cookies hold now, for one of these tokens?
pub fn is_good<'a>(
    tokens: &(impl Iterator<Item = &'a Token> + Clone),
    headers: &HeaderMap,
    now: Timestamp,
) -> bool {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|it| it.split_once('='));
    pairs.any(|(name, value)| name.trim() == NAME && holds(tokens.clone(), value.trim(), now))
}

fn holds<'a>(tokens: impl Iterator<Item = &'a Token>, value: &str, now: Timestamp) -> bool {
    let Some((end, sealed)) = value.split_once('.') else { return false };
    // Before any work is done with it; the end is under the seal.
    if !end.parse().is_ok_and(|end: i64| now.secs() < end) {
        return false;
    }
    let Ok(sealed) = URL_SAFE_NO_PAD.decode(sealed) else { return false };
    tokens.fold(false, |good, token| good | opens(token, end, &sealed))
}

/// Is it this token that was sealed with this end?
fn opens(token: &Token, end: &str, sealed: &[u8]) -> bool {
    let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE>() else { return false };
    let Some((text, tag)) = rest.split_last_chunk::<TAG>() else { return false };
    let Some(cipher) = cipher(token.digest()) else { return false };
    let mut text = Zeroizing::new(text.to_vec());
    let opened = cipher.decrypt_inout_detached(
        nonce.into(),
        end.as_bytes(),
        text.as_mut_slice().into(),
        tag.into(),
    );
    opened.is_ok() && token.is(&text)
}

/// None if the kernel gives no randomness.
fn made(token: &[u8], now: Timestamp) -> Option<String> {
    let end = now.secs().saturating_add(LASTS).to_string();
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).ok()?;
    let mut sealed = nonce.to_vec();
    sealed.extend_from_slice(token);
    let (_, text) = sealed.split_at_mut(NONCE);
    let cipher = cipher(&Sha256::digest(token).into())?;
    let tag = cipher.encrypt_inout_detached((&nonce).into(), end.as_bytes(), text.into()).ok()?;
    sealed.extend_from_slice(&tag);
    Some(format!("{end}.{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// None for no key: both take one of this length.
fn cipher(digest: &[u8; 32]) -> Option<Aes256Gcm> {
    let mut mac = Hmac::<Sha256>::new_from_slice(digest).ok()?;
    mac.update(LABEL);
    Aes256Gcm::new_from_slice(&mac.finalize().into_bytes()).ok()
}

/// Exchange the token for a cookie
///
/// One of `server.read_token` or `server.token`, as a bearer token or in the body. The cookie (`HttpOnly`, `SameSite=Strict`, 30 days)
/// is taken wherever the read token is, and never for a write. Where reads need no token nothing is set.
#[utoipa::path(
    post, path = "/session", tag = "dashboard", operation_id = "open_session",
    security((), ("token" = [])),
    request_body(content = super::openapi::SessionFields, description = "Not read where there is a bearer token"),
    responses(
        (status = 204, description = "The cookie is set", headers(("Set-Cookie" = String))),
        (status = 400, response = super::openapi::BadRequest),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 413, response = super::openapi::TooLarge),
        (status = 415, response = super::openapi::WrongType),
    ),
)]
pub async fn open(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (path, secure) = (path(request.extensions()), is_https(request.headers()));
    let caller = request.extensions().get::<Caller>();
    if caller.is_some_and(|caller| caller.reads_freely(request.headers())) {
        return Ok(reply(None));
    }
    let token = match auth::bearer(request.headers()) {
        Some(token) => Zeroizing::new(token.to_vec()),
        None => Zeroizing::new(given(request).await?.into_bytes()),
    };
    if !auth::is_one_of(Some(&token), auth::readers(&state)) {
        return Err(auth::wrong());
    }
    let value = made(&token, clock::now().wall);
    Ok(reply(value.and_then(|value| cookie(&value, LASTS, &path, secure))))
}

/// Forget the cookie
#[utoipa::path(
    delete, path = "/session", tag = "dashboard", operation_id = "close_session",
    security(()),
    responses((status = 204, description = "The client is told to forget it", headers(("Set-Cookie" = String)))),
)]
pub async fn close(request: Request) -> Response<Body> {
    let (path, secure) = (path(request.extensions()), is_https(request.headers()));
    reply(cookie("", 0, &path, secure))
}

/// The token in the body.
async fn given(request: Request) -> Result<String, Problem> {
    let Object(body) = Object::from_request(request, &()).await?;
    only(&body, &["token"])?;
    let token =
        body.get("token").ok_or_else(|| invalid("the field 'token' is missing".to_owned()))?;
    let text = token.as_str().filter(|it| !it.is_empty());
    text.map(str::to_owned).ok_or_else(|| Problem::field("token", "must be a text"))
}

/// Where the cookie is sent: to the base path that this request came under.
fn path(extensions: &Extensions) -> String {
    let base = extensions.get::<Base>().map_or("", |base| base.0.as_str());
    format!("{base}/")
}

/// Did the request reach the first proxy by https? What a client may claim concerns its own cookie alone.
fn is_https(headers: &HeaderMap) -> bool {
    let value = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    let first = value.unwrap_or_default().split(',').next().unwrap_or_default();
    first.trim().eq_ignore_ascii_case("https")
}

fn cookie(value: &str, lasts: i64, path: &str, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{NAME}={value}; Path={path}; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).ok()
}

fn reply(cookie: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::config::Settings;
    use crate::http::testing::{Answered, TOKEN, World, writable};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const JSON: (&str, &str) = ("content-type", "application/json");

    fn with(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    fn guarded() -> Settings {
        let mut settings = writable();
        settings.server.read_token = vec![Token::of("reader")];
        settings.server.base_paths = vec!["/dashboard/api".to_owned()];
        settings
    }

    /// `name=value` of the cookie that was set.
    fn pair(answer: &Answered) -> String {
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_holds_for_its_token_and_its_time() {
        let tokens = [Token::of("writer"), Token::of("reader")];
        let value = made(b"reader", NOW).unwrap();
        let good = |tokens: &[Token], cookie: &str, secs: i64| {
            is_good(&tokens.iter(), &with(cookie), Timestamp(NOW.0 + secs * 1000))
        };
        assert!(good(&tokens, &format!("{NAME}={value}"), 0));
        assert!(good(&tokens, &format!("a=b; {NAME}=old.one;{NAME}={value}; c"), LASTS - 1));
        assert!(!good(&tokens, &format!("{NAME}={value}"), LASTS));
        assert!(!good(&tokens[..1], &format!("{NAME}={value}"), 0), "its token has gone");
        assert!(!good(&[], &format!("{NAME}={value}"), 0));
        let (end, sealed) = value.split_once('.').unwrap();
        let later = end.parse::<i64>().unwrap() + 1;
        let bytes = URL_SAFE_NO_PAD.decode(sealed).unwrap();
        let changed = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            format!("{end}.{}", URL_SAFE_NO_PAD.encode(bytes))
        };
        for other in [
            format!("{later}.{sealed}"),
            format!("{end}."),
            end.to_owned(),
            "reader".to_owned(),
            format!("{end}.{}", &sealed[1..]),
            changed(0),
            changed(NONCE),
            changed(bytes.len() - 1),
        ] {
            assert!(!good(&tokens, &format!("{NAME}={other}"), 0), "{other}");
        }
        assert!(!good(&tokens, &format!("other={value}"), 0));
    }

    /// Who has the hash out of a configuration can seal with its key, and has nothing to put under the seal.
    #[test]
    fn a_session_needs_the_token_and_does_not_show_it() {
        let (token, end) = (Token::of("reader"), (NOW.secs() + 9).to_string());
        for text in [&b""[..], b"reade", token.digest()] {
            let mut sealed = [7_u8; NONCE].to_vec();
            sealed.extend_from_slice(text);
            let cipher = cipher(token.digest()).unwrap();
            let tag = cipher
                .encrypt_inout_detached(
                    (&[7_u8; NONCE]).into(),
                    end.as_bytes(),
                    (&mut sealed[NONCE..]).into(),
                )
                .unwrap();
            sealed.extend_from_slice(&tag);
            assert!(!opens(&token, &end, &sealed), "{text:?}");
        }
        let sealed = made(b"reader", NOW).unwrap();
        let sealed = URL_SAFE_NO_PAD.decode(sealed.split_once('.').unwrap().1).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"reader"));
    }

    #[tokio::test]
    async fn a_token_is_exchanged_and_reads_but_never_writes() {
        let world = World::new(guarded()).await;
        let body = |token: &str| format!(r#"{{"token":"{token}"}}"#);
        for (headers, body) in [
            (vec![JSON], body("reader")),
            (vec![JSON], body(TOKEN)),
            (vec![("authorization", "Bearer reader")], String::new()),
        ] {
            let answer = world.send(Method::POST, "/session", &headers, &body).await;
            assert_eq!(
                (answer.status, answer.header("cache-control")),
                (StatusCode::NO_CONTENT, "no-store")
            );
            let set = answer.header("set-cookie");
            assert!(set.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"), "{set}");
            let cookie = pair(&answer);
            let cookie = [("cookie", cookie.as_str())];
            for path in ["/nodes", "/nodes/status", "/migrations", "/instances"] {
                assert_eq!(world.send(Method::GET, path, &cookie, "").await.status, 200, "{path}");
            }
            let write = [cookie[0], JSON];
            let refused =
                world.send(Method::POST, "/nodes", &write, r#"{"name":"a","port":1}"#).await;
            assert_eq!(refused.code(), "unauthorized");
            // A token that is given counts, and nothing beside it.
            let both = [cookie[0], ("authorization", "Bearer wrong")];
            assert_eq!(world.send(Method::GET, "/nodes", &both, "").await.code(), "unauthorized");
        }
        for (headers, body, status) in [
            (vec![JSON], body("wrong"), 401),
            (vec![("authorization", "Bearer wrong")], body("reader"), 401),
            (vec![JSON], body(""), 400),
            (vec![JSON], "{}".to_owned(), 400),
            (vec![JSON], r#"{"token":7}"#.to_owned(), 400),
            (vec![JSON], r#"{"token":"reader","more":1}"#.to_owned(), 400),
            (vec![], body("reader"), 415),
        ] {
            let answer = world.send(Method::POST, "/session", &headers, &body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("set-cookie")),
                (status, ""),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn a_cookie_belongs_to_its_base_and_to_https() {
        let world = World::new(guarded()).await;
        let auth = ("authorization", "Bearer reader");
        for (proto, secure) in
            [("https", true), ("HTTPS, http", true), ("http, https", false), ("", false)]
        {
            let headers = [auth, ("x-forwarded-proto", proto)];
            let answer = world.send(Method::POST, "/dashboard/api/session", &headers, "").await;
            let set = answer.header("set-cookie");
            assert!(set.contains("; Path=/dashboard/api/; "), "{set}");
            assert_eq!(set.ends_with("; Secure"), secure, "{set}");
        }
        let gone = world.send(Method::DELETE, "/dashboard/api/session", &[], "").await;
        assert_eq!(gone.status, 204);
        let text =
            "procwarden_session=; Path=/dashboard/api/; Max-Age=0; HttpOnly; SameSite=Strict";
        assert_eq!(gone.header("set-cookie"), text);
    }

    #[tokio::test]
    async fn where_reads_are_open_nothing_is_set() {
        let world = World::new(writable()).await;
        let answer = world.send(Method::POST, "/session", &[JSON], r#"{"token":"x"}"#).await;
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (204, ""));
    }
}
