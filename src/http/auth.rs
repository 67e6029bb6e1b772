//! Bearer tokens (RFC 6750): one for writes, optionally one for reads, which a session stands for as well.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use subtle::ConstantTimeEq;

use super::AppState;
use super::error::Problem;
use super::session;
use crate::clock;
use crate::domain::node::Password;

/// Proof that this request may write.
#[derive(Debug, Clone, Copy)]
pub struct MayWrite;

/// Proof that this request may read.
#[derive(Debug, Clone, Copy)]
pub struct MayRead;

impl FromRequestParts<AppState> for MayWrite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Some(token) = &state.settings().server.token else {
            let detail = "writes are off: no server.token is configured";
            return Err(Problem::new(StatusCode::FORBIDDEN, "writes_disabled", detail));
        };
        check(&parts.headers, &[token]).map(|()| Self)
    }
}

impl FromRequestParts<AppState> for MayRead {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        may_read(state, &parts.headers).map(|()| Self)
    }
}

/// Whether a request with these headers may read: by its bearer token, or where it has none by its session.
pub fn may_read(state: &AppState, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(read) = &state.settings().server.read_token else { return Ok(()) };
    if bearer(headers).is_none() && session::is_good(read, headers, clock::now().wall) {
        return Ok(());
    }
    check(headers, &readers(state))
}

/// Whether this is a token that lets read.
pub fn is_token_of_readers(state: &AppState, given: &[u8]) -> Result<(), Problem> {
    compare(Some(given), &readers(state))
}

fn readers(state: &AppState) -> Vec<&Password> {
    let server = &state.settings().server;
    server.read_token.iter().chain(&server.token).collect()
}

fn check(headers: &HeaderMap, tokens: &[&Password]) -> Result<(), Problem> {
    compare(bearer(headers), tokens)
}

fn compare(given: Option<&[u8]>, tokens: &[&Password]) -> Result<(), Problem> {
    // Every token is compared, so that the time says nothing about which one nearly matched.
    let good = tokens.iter().fold(false, |good, token| {
        good | given.is_some_and(|given| bool::from(given.ct_eq(token.expose().as_bytes())))
    });
    if good {
        return Ok(());
    }
    let detail = if given.is_some() { "the token is wrong" } else { "a bearer token is needed" };
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
}

/// The bearer token, if there is one.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().filter(|_| all.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}
