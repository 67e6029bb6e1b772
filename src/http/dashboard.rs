//! `GET /`: the dashboard. Its files lie in `web/` and are part of the program; none of them names an absolute URL, so
//! that the page works under every base path.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use bytes::Bytes;

use super::AppState;
use super::bodies::Prepared;
use super::error::Problem;

/// What the page may do: load what it came from, and nothing else. No text becomes markup (trusted types).
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// What stands on each answer besides.
const GUARDS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

/// A file of `web/`: its name and its bytes.
macro_rules! files {
    ($kind:expr, $($name:literal),+ $(,)?) => {
        [$(($name, $kind, include_str!(concat!("../../web/", $name)))),+]
    };
}

const PAGE: &str = include_str!("../../web/index.html");

const SCRIPTS: [(&str, HeaderValue, &str); 16] = files!(
    SCRIPT,
    "app.js",
    "changes.js",
    "data.js",
    "dom.js",
    "early.js",
    "history.js",
    "live.js",
    "migration.js",
    "migrations.js",
    "node.js",
    "nodes.js",
    "overview.js",
    "session.js",
    "shapes.js",
    "table.js",
    "words.js",
);

const STYLE: [(&str, HeaderValue, &str); 1] =
    files!(HeaderValue::from_static("text/css; charset=utf-8"), "style.css");

const ICON: [(&str, HeaderValue, &str); 1] =
    files!(HeaderValue::from_static("image/svg+xml"), "icon.svg");

/// The page and its parts, packed once each.
#[derive(Debug)]
pub struct Dashboard {
    page: Prepared,
    parts: Vec<(&'static str, Prepared)>,
}

impl Default for Dashboard {
    fn default() -> Self {
        let prepared =
            |kind, text: &'static str| Prepared::of(kind, Bytes::from_static(text.as_bytes()));
        let parts = SCRIPTS.into_iter().chain(STYLE).chain(ICON);
        Self {
            page: prepared(HeaderValue::from_static("text/html; charset=utf-8"), PAGE),
            parts: parts.map(|(name, kind, text)| (name, prepared(kind, text))).collect(),
        }
    }
}

/// The dashboard
///
/// A page for browsers, made of this and of `/web/{name}`. It reads what is described here; where reads need a token it
/// asks for it and makes a session of it. `OPTIONS /` is the health route's.
#[utoipa::path(
    get, path = "/", tag = "dashboard", operation_id = "dashboard",
    params(super::openapi::IfNoneMatch),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html",
            headers(("ETag" = String), ("Content-Security-Policy" = String), ("Vary" = String), ("Cache-Control" = String))),
        (status = 304, description = "The client has this already"),
    ),
)]
pub async fn page(State(state): State<AppState>, headers: HeaderMap) -> Response<Body> {
    reply(&state.0.dashboard.page, &headers).await
}

/// A part of the dashboard
#[utoipa::path(
    get, path = "/web/{name}", tag = "dashboard", operation_id = "dashboard_part",
    params(("name" = String, Path, description = "The file's name", example = "app.js"), super::openapi::IfNoneMatch),
    responses(
        (status = 200, description = "A script, the style or the icon", body = String, content_type = "text/javascript",
            headers(("ETag" = String), ("Vary" = String), ("Cache-Control" = String))),
        (status = 304, description = "The client has this already"),
        (status = 404, description = "`unknown_route`"),
    ),
)]
pub async fn part(
    State(state): State<AppState>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let found = state.0.dashboard.parts.iter().find(|(it, _)| *it == name);
    let Some((_, part)) = found else {
        let detail = format!("there is nothing at {}", uri.path());
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_route", detail));
    };
    Ok(reply(part, &headers).await)
}

/// To the page from a base path without its slash, which the page's URLs are relative to. Relative as well: a proxy may
/// have taken something off the path.
pub fn with_slash(base: &str) -> Option<Response<Body>> {
    let last = base.rsplit('/').next()?;
    let location = HeaderValue::try_from(format!("./{last}/")).ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

async fn reply(file: &Prepared, request: &HeaderMap) -> Response<Body> {
    let mut response = file.respond(request).await.map(Body::from);
    response.headers_mut().extend(GUARDS);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use axum::http::Method;

    use super::*;
    use crate::config::Settings;
    use crate::http::testing::World;

    fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        let parts = SCRIPTS.into_iter().chain(STYLE).chain(ICON);
        parts.map(|(name, _, text)| (name, text)).chain([("index.html", PAGE)])
    }

    #[test]
    fn every_file_is_part_of_the_program_and_is_short() {
        let known: BTreeSet<_> = all().map(|(name, _)| name.to_owned()).collect();
        let lying = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/web")).unwrap();
        let lying: BTreeSet<_> =
            lying.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(known, lying);
        for (name, text) in all() {
            assert!(text.lines().count() <= 420, "{name} is too long to be one job");
        }
    }

    #[test]
    fn no_file_leaves_its_origin_or_makes_markup_of_text() {
        for (name, text) in all() {
            // The one URL is a name, of a kind of markup.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in [
                "http://",
                "https://",
                "=\"/",
                "fetch(\"/",
                "ask(\"/",
                "ask(`/",
                "read(\"/",
                "Source(\"/",
                "innerHTML",
                "eval(",
            ] {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
        for word in ["<style", " style=", " onclick=", "javascript:"] {
            assert!(!PAGE.contains(word), "the page has {word}");
        }
        let scripts = PAGE.matches("<script").count();
        assert_eq!(
            scripts,
            PAGE.matches("<script src=").count()
                + PAGE.matches("<script type=\"module\" src=").count()
        );
    }

    #[test]
    fn what_a_file_takes_in_is_there() {
        let names: BTreeSet<_> = all().map(|(name, _)| name).collect();
        let mut seen = 0;
        for (name, text) in all() {
            for (at, _) in text.match_indices(" from \"./") {
                let other = text[at + 9..].split('"').next().unwrap();
                assert!(names.contains(other), "{name} takes in {other}");
                seen += 1;
            }
            for (at, _) in text.match_indices("\"web/") {
                let other = text[at + 5..].split('"').next().unwrap();
                assert!(names.contains(other), "{name} names {other}");
                seen += 1;
            }
        }
        assert!(seen > 10);
    }

    #[tokio::test]
    async fn the_page_is_guarded_by_any_method_under_any_base() {
        let mut settings = Settings::default();
        settings.server.base_paths = vec!["/dashboard/api".to_owned(), "/web".to_owned()];
        let world = World::new(settings).await;
        world.publish(Vec::new());
        for path in
            ["/", "/dashboard/api/", "/web/", "/web/web/app.js", "/dashboard/api/web/style.css"]
        {
            let mut marks = Vec::new();
            for method in [Method::GET, Method::HEAD] {
                let head = method == Method::HEAD;
                let answer = world.send(method, path, &[], "").await;
                assert_eq!(
                    (answer.status, answer.bytes.is_empty()),
                    (StatusCode::OK, head),
                    "{path}"
                );
                assert!(
                    answer.header("content-security-policy").starts_with("default-src 'none'; ")
                );
                assert!(!answer.header("content-security-policy").contains("unsafe"));
                assert_eq!(answer.header("x-content-type-options"), "nosniff");
                assert_eq!(answer.header("referrer-policy"), "no-referrer");
                assert_eq!(answer.header("cache-control"), "no-cache");
                marks.push(answer.header("etag").to_owned());
            }
            assert_eq!(marks[0], marks[1]);
            let known = [("if-none-match", marks[0].as_str())];
            let again = world.send(Method::GET, path, &known, "").await;
            assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
            assert!(!again.header("content-security-policy").is_empty());
        }
        assert_eq!(world.get("/").await.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(
            world.get("/web/web/app.js").await.header("content-type"),
            SCRIPT.to_str().unwrap()
        );
        assert_eq!(world.get("/dashboard/api/web/nothing.js").await.code(), "unknown_route");
        let bare = world.get("/dashboard/api").await;
        assert_eq!(
            (bare.status, bare.header("location")),
            (StatusCode::PERMANENT_REDIRECT, "./api/")
        );
        assert_eq!(world.send(Method::OPTIONS, "/", &[], "").await.json()["status"], "healthy");
        assert_eq!(world.send(Method::OPTIONS, "/web", &[], "").await.json()["status"], "healthy");
        let wrong = world.send(Method::POST, "/", &[], "").await;
        assert_eq!(wrong.code(), "method_not_allowed");
    }

    #[tokio::test]
    async fn a_part_is_packed_where_that_is_wanted() {
        let world = World::new(Settings::default()).await;
        let plain = world.get("/web/app.js").await;
        for (word, marked) in [("gzip", "-gzip\""), ("zstd", "-zstd\"")] {
            let packed =
                world.send(Method::GET, "/web/app.js", &[("accept-encoding", word)], "").await;
            assert_eq!(
                (packed.header("content-encoding"), packed.header("vary")),
                (word, "Accept-Encoding")
            );
            assert!(
                packed.bytes.len() < plain.bytes.len() && packed.header("etag").ends_with(marked)
            );
        }
    }
}
