//! Bearer tokens (RFC 6750): those of writes, and those of reads, which a session stands for as well.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::Choice;

use super::AppState;
use super::access::{Caller, forwarded};
use super::error::Problem;
use super::session;
use crate::clock;
use crate::config::{LONGEST_TOKEN, Token};
use crate::domain::access::{Standing, Which};

/// Proof that this request may write.
#[derive(Debug, Clone, Copy)]
pub struct MayWrite;

/// Proof that this request may read.
#[derive(Debug, Clone, Copy)]
pub struct MayRead;

impl FromRequestParts<AppState> for MayWrite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let tokens = &state.settings().server.token;
        if tokens.is_empty() {
            let detail = "writes are off: no server.token is configured";
            return Err(Problem::new(StatusCode::FORBIDDEN, "writes_disabled", detail));
        }
        let given = bearer(&parts.headers);
        if is_one_of(given, tokens) {
            return Ok(Self);
        }
        Err(unauthorized(if given.is_some() { WRONG } else { NEEDED }))
    }
}

impl FromRequestParts<AppState> for MayRead {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>();
        may_read(state, caller, &parts.headers).map(|()| Self)
    }
}

const WRONG: &str = "the token is wrong";
const NEEDED: &str = "a bearer token is needed";

/// Whether a request with these headers may read: freely, by its bearer token, or where it has none by its session.
/// Whoever is not known shows a token.
pub fn may_read(
    state: &AppState,
    caller: Option<&Caller>,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    if caller.is_some_and(|caller| caller.reads_freely(headers)) {
        return Ok(());
    }
    let given = bearer(headers);
    let good = match given {
        Some(_) => is_one_of(given, readers(state)),
        None => session::is_good(&readers(state), headers, clock::now().wall),
    };
    match given {
        _ if good => Ok(()),
        Some(_) => Err(unauthorized(WRONG)),
        None => Err(unauthorized(&why(state, caller, headers))),
    }
}

/// Why a token is needed, and for whoever runs this what else there is.
fn why(state: &AppState, caller: Option<&Caller>, headers: &HeaderMap) -> String {
    let standing = caller.map_or(Standing::STRANGER, |caller| caller.standing);
    let is_configured = readers(state).next().is_some();
    let set = if is_configured { "" } else { "; none is configured yet: set server.read_token" };
    match (standing.needs_token, forwarded(headers)) {
        (Which::Forwarded, Some(name)) => format!(
            "{NEEDED}: this request came through a proxy ({name}), and without one only direct requests may read{set}. Where \
             the proxy lets in only who may read, name its address in server.trusted_proxies; server.open_reads = true \
             opens reads to all"
        ),
        _ if !is_configured => {
            format!("{NEEDED}{set}, or server.trusted_proxies, or server.open_reads = true")
        }
        _ => NEEDED.to_owned(),
    }
}

/// The tokens that let read: who may write may read.
pub fn readers(state: &AppState) -> impl Iterator<Item = &Token> + Clone {
    let server = &state.settings().server;
    server.read_token.iter().chain(&server.token)
}

/// Is this one of the tokens? Every one is compared, so that the time says nothing about which one it was.
pub fn is_one_of<'a>(given: Option<&[u8]>, tokens: impl IntoIterator<Item = &'a Token>) -> bool {
    let Some(given) = given.filter(|given| given.len() <= LONGEST_TOKEN) else { return false };
    let digest = Sha256::digest(given).into();
    let none = Choice::from(0);
    tokens.into_iter().fold(none, |good, token| good | token.is_digest(&digest)).into()
}

/// 401.
pub fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// 401 for a token that is none of ours.
pub fn wrong() -> Problem {
    unauthorized(WRONG)
}

/// The bearer token, if there is one.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::http::testing::{World, writable};

    #[tokio::test]
    async fn whoever_is_not_known_shows_a_token() {
        let world = World::new(writable()).await;
        let (none, caller) = (HeaderMap::new(), world.caller());
        assert!(may_read(&world.state, Some(&caller), &none).is_ok());
        assert!(may_read(&world.state, None, &none).is_err());
        let value = HeaderValue::from_static("Bearer t0ken");
        let shown = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        assert!(may_read(&world.state, None, &shown).is_ok());
        let nobody = World::new(Settings::default()).await;
        assert!(may_read(&nobody.state, None, &shown).is_err());
    }

    #[test]
    fn a_token_longer_than_any_is_none() {
        let long = "x".repeat(LONGEST_TOKEN + 1);
        let tokens = [Token::of(&long), Token::of("short")];
        assert!(!is_one_of(Some(long.as_bytes()), &tokens));
        assert!(is_one_of(Some(b"short"), &tokens));
        assert!(!is_one_of(Some(b"shor"), &tokens) && !is_one_of(None, &tokens));
        assert!(!is_one_of(Some(b"short"), []));
    }
}
