//! `GET /adopt/report`: where the tables that are adopted, the locks and our judgement do not say the same.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::auth::MayRead;
use super::error::Problem;
use super::limits::Work;
use crate::config::AdoptMode;
use crate::domain::Timestamp;
use crate::store::Finding;

/// A difference, or what is to be mended.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingBody {
    /// What it is about: `node:ID`, `migration:UUID-ID`, `table:NAME`.
    #[schema(example = "migration:3c56530e-ca31-4a7c-964f-e69be01f382a-23131991")]
    pub subject: String,
    /// `difference` or `fault`.
    #[schema(value_type = super::openapi::words::FindingKind, example = "difference")]
    pub kind: String,
    /// What kind of it.
    #[schema(value_type = super::openapi::words::FindingCode, example = "error_here_only")]
    pub code: String,
    /// What is seen of theirs.
    #[schema(example = "in_progress")]
    pub theirs: String,
    /// What is so by our rules.
    #[schema(example = "error (pid_reused)")]
    pub ours: String,
    /// The rule, or what to do.
    pub rule: String,
    /// When it was seen first.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it was seen no more; null while it is so.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// The instance that found it.
    pub instance: String,
}

/// Everything that was found in the last 30 days.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    /// `adopt.mode` of this instance.
    #[schema(value_type = super::openapi::words::AdoptModeWord, example = "shadow")]
    pub mode: &'static str,
    /// How many are so now.
    pub open: usize,
    /// How many are in `findings`.
    pub count: usize,
    /// Oldest first.
    pub findings: Vec<FindingBody>,
}

/// The report as it is told everywhere.
#[must_use]
pub fn report(mode: AdoptMode, findings: Vec<Finding>) -> Report {
    let findings: Vec<FindingBody> = findings.into_iter().map(body).collect();
    Report {
        mode: mode.as_str(),
        open: findings.iter().filter(|it| it.until.is_none()).count(),
        count: findings.len(),
        findings,
    }
}

fn body(it: Finding) -> FindingBody {
    FindingBody {
        subject: it.subject,
        kind: it.kind,
        code: it.code,
        theirs: it.theirs,
        ours: it.ours,
        rule: it.rule,
        since: Timestamp(it.since),
        until: it.until.map(Timestamp),
        instance: it.instance,
    }
}

/// What adoption found
///
/// Where adopted tables (`[adopt]`) and their locks differ from our judgement, by which rule, and what is to be mended;
/// of all instances, what is over for up to 30 days.
#[utoipa::path(
    get, path = "/adopt/report", tag = "adoption", operation_id = "adopt_report",
    responses(
        (status = 200, description = "Oldest first", body = Report),
        (status = 401, response = super::openapi::Unauthorized),
        (status = 405, response = super::openapi::MethodNotAllowed),
        (status = 503, response = super::openapi::Unavailable),
    ),
)]
pub async fn get(
    _: MayRead,
    _work: Work,
    State(state): State<AppState>,
) -> Result<Json<Report>, Problem> {
    let findings = state.store().findings().await?;
    Ok(Json(report(state.settings().adopt.mode, findings)))
}
