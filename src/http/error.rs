//! Errors as RFC 9457 `application/problem+json`, with what clients of the earlier API read beside it.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::reconciler::migrations::RequestError;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// How soon a client may come back after a 503, in seconds: the shortest time in which anything here recovers.
pub const RETRY_AFTER_SECS: &str = "2";

/// An error on its way to a client.
#[derive(Debug, Clone, Serialize)]
pub struct Problem(Box<ProblemBody>);

/// An error as its client reads it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `about:blank`: the status says what kind it is (RFC 9457, section 4.2.1).
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Bad Request")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400, minimum = 400, maximum = 599)]
    status: u16,
    /// A stable word for programs.
    #[schema(example = "invalid_parameter")]
    code: &'static str,
    /// For people: what was wrong and what is allowed.
    detail: String,
    /// Always false.
    #[schema(example = false)]
    success: bool,
    /// The same as `detail`.
    error: String,
    /// What belongs to this code only, such as `uuids` of `ambiguous`.
    #[serde(flatten)]
    #[schema(inline)]
    more: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with this status, stable word and text.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let mut problem = Self(Box::new(ProblemBody {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            error: detail.clone(),
            detail,
            success: false,
            more: Map::new(),
            headers: Vec::new(),
        }));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem =
                problem.header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
        }
        problem
    }

    /// 400 for a parameter: the text names it, the value and what is allowed.
    #[must_use]
    pub fn parameter(name: &str, fault: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", format!("{name}: {fault}"))
            .with("parameter", name)
    }

    /// 400 for a field of a body.
    #[must_use]
    pub fn field(name: &str, fault: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_field", format!("{name}: {fault}"))
            .with("field", name)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let problem = *self.0;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.extend(problem.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid { field, problem } => Self::field(field, problem),
            RegistryError::NotFound(_) => Self::not_found(error.to_string()),
            RegistryError::Adopted(detail) => Self::new(StatusCode::CONFLICT, "adopted", detail),
            RegistryError::Store(StoreError::DuplicateName(name)) => Self::new(
                StatusCode::CONFLICT,
                "duplicate_name",
                StoreError::DuplicateName(name).to_string(),
            ),
            RegistryError::Store(StoreError::NoKey) => {
                Self::field("password", StoreError::NoKey.to_string())
            }
            RegistryError::Store(error) => {
                tracing::warn!(error = error.chain(), "a write of the registry failed");
                database_unavailable(error.to_string())
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(error = error.chain(), "a read of the database failed");
        database_unavailable(error.to_string())
    }
}

fn database_unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail)
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, detail.clone());
        let busy = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail.clone());
        match error {
            RequestError::NotFound(_) => Self::not_found(detail),
            RequestError::NoLock(_) => Self::new(StatusCode::NOT_FOUND, "no_lock", detail),
            RequestError::Ambiguous { uuids, .. } => conflict("ambiguous").with("uuids", uuids),
            RequestError::AlreadyFinished(status) => {
                conflict("already_finished").with("migration_status", status.as_str())
            }
            RequestError::RunMismatch(run) => conflict("run_mismatch").with("run", run),
            RequestError::ProcessAlive(_) => conflict("process_alive"),
            RequestError::NotRemoved(_) => conflict("lock_changed"),
            RequestError::Shadow => conflict("shadow"),
            RequestError::Off => conflict("migrations_off"),
            RequestError::Locks(_) => busy("locks_unreadable"),
            RequestError::Store(_) => database_unavailable(detail),
            RequestError::Timeout => busy("timeout"),
        }
    }
}
