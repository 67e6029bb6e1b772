//! Reading what a request brings: the id in its path, and a JSON body of bounded size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use super::error::Problem;

/// Largest body: many times what any write of ours needs.
pub const BODY_LIMIT: usize = 64 * 1024;

/// How much of a body that is too large is read all the same.
const DISCARD_LIMIT: usize = 16 * 1024 * 1024;

/// How long a client may take to send its body; well within the eight seconds that a graceful stop has, so that a
/// client that sends half of one cannot spoil it.
const BODY_TIME: Duration = Duration::from_secs(5);

/// `{id}` of a path, percent-decoded.
#[derive(Debug, Clone)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::parameter("id", "is not UTF-8"))?;
        Ok(Self(id))
    }
}

/// A JSON object as the body.
#[derive(Debug, Clone)]
pub struct Object(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body must be JSON: Content-Type: application/json";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                detail,
            ));
        }
        let bytes = read(request.into_body()).await?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Self(with_whole_numbers(map))),
            Ok(_) => Err(invalid("the body must be a JSON object".to_owned())),
            Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
        }
    }
}

/// 2^53 - 1, the largest integer that every JSON reader keeps exact (RFC 8259, section 6).
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

/// JSON has one kind of number, and some writers make `18082.0` of a whole one.
fn with_whole_numbers(mut map: Map<String, Value>) -> Map<String, Value> {
    for value in map.values_mut() {
        let whole = value.as_f64().filter(|_| value.is_f64()).and_then(exact);
        if let Some(whole) = whole {
            *value = whole.into();
        }
    }
    map
}

/// The whole number that this is, where it is one that every reader keeps exact.
fn exact(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() <= MAX_EXACT;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within bounds")]
    fits.then_some(number as i64)
}

/// 400 for a body as a whole.
pub fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_body", detail)
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(BODY_TIME, collect(body)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            let detail = format!("the body is larger than {BODY_LIMIT} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
        }
        Ok(Err(error)) => Err(invalid(format!("the body could not be read: {error}"))),
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        }
    }
}

/// The body; `None` if it is too large. The rest of such a one is read and thrown away, within bounds: a client
/// that still writes when the connection is closed never sees why.
async fn collect(mut body: Body) -> Result<Option<Vec<u8>>, axum::Error> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await.transpose()? {
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > DISCARD_LIMIT {
            break;
        }
        if length <= BODY_LIMIT {
            bytes.extend_from_slice(&data);
        }
    }
    Ok((length <= BODY_LIMIT).then_some(bytes))
}

/// `application/json`, or any type with that suffix, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A body whose fields are all among these.
///
/// # Errors
/// 400 naming the first other one.
pub fn only(map: &Map<String, Value>, fields: &[&str]) -> Result<(), Problem> {
    match map.keys().find(|key| !fields.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let key: String = key.chars().take(64).collect();
            Err(invalid(format!("unknown field '{key}'; allowed are {}", fields.join(", "))))
        }
    }
}
