//! `/session`: the read token exchanged for a cookie, for a page whose event stream cannot send a bearer token.
//!
//! A session is its end and an HMAC over it, keyed by the read token: no instance keeps anything, so it holds at every
//! instance with this token and over restarts, and all sessions end when the token changes. It lets read, never write,
//! whichever token it was made of.

use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::AppState;
use super::auth;
use super::error::Problem;
use super::request::{Object, invalid, only};
use super::router::Base;
use crate::clock;
use crate::domain::Timestamp;
use crate::domain::node::Password;

/// The cookie's name.
pub const NAME: &str = "procwarden_session";

/// How long a session lasts, in seconds: 30 days, so that a screen on a wall is not asked each week.
const LASTS: i64 = 30 * 24 * 3600;

/// What the HMAC is over besides the end, so that it means nothing elsewhere.
const LABEL: &[u8] = b"procwarden session 1\n";

/// Does one of the request's cookies hold now?
pub fn is_good(token: &Password, headers: &HeaderMap, now: Timestamp) -> bool {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|it| it.split_once('='));
    pairs.any(|(name, value)| name.trim() == NAME && holds(token, value.trim(), now))
}

fn holds(token: &Password, value: &str, now: Timestamp) -> bool {
    let Some((end, tag)) = value.split_once('.') else { return false };
    let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
    // Compared in constant time, before the end is looked at: a wrong one tells nothing.
    let is_ours = mac(token, end).is_some_and(|mac| mac.verify_slice(&tag).is_ok());
    is_ours && end.parse().is_ok_and(|end: i64| now.secs() < end)
}

fn made(token: &Password, now: Timestamp) -> Option<String> {
    let end = now.secs().saturating_add(LASTS).to_string();
    let tag = mac(token, &end)?.finalize().into_bytes();
    Some(format!("{end}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

/// None for no key: an HMAC takes one of any length.
fn mac(token: &Password, end: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes()).ok()?;
    mac.update(LABEL);
    mac.update(end.as_bytes());
    Some(mac)
}

/// Exchange the token for a cookie
///
/// `server.read_token` or `server.token`, as a bearer token or in the body. The cookie (`HttpOnly`, `SameSite=Strict`, 30 days)
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
    let Some(token) = state.settings().server.read_token.clone() else { return Ok(reply(None)) };
    let (path, secure) = (path(request.extensions()), is_https(request.headers()));
    if auth::bearer(request.headers()).is_some() {
        auth::may_read(&state, request.headers())?;
    } else {
        auth::is_token_of_readers(&state, given(request).await?.as_bytes())?;
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

    fn word(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn with(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    fn guarded() -> Settings {
        let mut settings = writable();
        settings.server.read_token = Some(word("reader"));
        settings.server.base_paths = vec!["/dashboard/api".to_owned()];
        settings
    }

    /// `name=value` of the cookie that was set.
    fn pair(answer: &Answered) -> String {
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_holds_for_its_token_and_its_time() {
        let token = word("reader");
        let value = made(&token, NOW).unwrap();
        assert!(!value.contains("reader"));
        let good = |token: &Password, cookie: &str, secs: i64| {
            is_good(token, &with(cookie), Timestamp(NOW.0 + secs * 1000))
        };
        assert!(good(&token, &format!("{NAME}={value}"), 0));
        assert!(good(&token, &format!("a=b; {NAME}=old.one;{NAME}={value}; c"), LASTS - 1));
        assert!(!good(&token, &format!("{NAME}={value}"), LASTS));
        assert!(!good(&word("other"), &format!("{NAME}={value}"), 0));
        let (end, tag) = value.split_once('.').unwrap();
        let later = end.parse::<i64>().unwrap() + 1;
        for other in [
            format!("{later}.{tag}"),
            format!("{end}."),
            end.to_owned(),
            "reader".to_owned(),
            format!("{end}.{}", &tag[1..]),
        ] {
            assert!(!good(&token, &format!("{NAME}={other}"), 0), "{other}");
        }
        assert!(!good(&token, &format!("other={value}"), 0));
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
