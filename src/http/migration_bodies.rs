//! Migrations as JSON, in the form that the migration dashboard reads.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::migration::{Migration, Reason, Source};
use crate::domain::process::signal_word;
use crate::domain::{Exit, Timestamp};
use crate::snapshot::{MigrationView, Unreadable, Watch};

/// What changed last, as the migration dashboard reads it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changes {
    /// The status.
    #[schema(value_type = super::openapi::words::MigrationStatusWord, example = "in_progress")]
    pub status: &'static str,
    /// Why it is `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last change of `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub status_updated_at: Option<Timestamp>,
    /// Present and true when procwarden judged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor_updated: Option<bool>,
}

/// One migration of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationRow {
    /// The same as `brz_project_id`.
    pub id: i64,
    /// As the runner writes it.
    pub mb_project_uuid: String,
    /// 1 to 2^53-1.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub brz_project_id: i64,
    /// First sight.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last write.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// What the dashboard shows.
    #[schema(value_type = super::openapi::words::MigrationStatusWord, example = "in_progress")]
    pub status: &'static str,
    /// What changed last.
    pub changes_json: Changes,
    /// Reserved for the runner's own result.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// What is seen.
    #[schema(value_type = super::openapi::words::MigrationState, example = "alive")]
    pub state: &'static str,
    /// Why.
    #[schema(value_type = Option<super::openapi::words::MigrationReason>)]
    pub reason: Option<&'static str>,
    /// The last change of `state`.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Counts the attempts, from 1.
    pub run: i64,
    /// The PID in the lock.
    pub pid: Option<i64>,
    /// The instance that answers for it.
    pub instance: String,
    /// As the lock has it.
    pub current_stage: Value,
    /// As the lock has it.
    pub total_pages: Value,
    /// As the lock has it.
    pub processed_pages: Value,
    /// As the lock has it.
    pub progress_percent: Value,
    /// How its process ended, where the kernel told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitBody>,
    /// Its process is gone, and `status` turns to `error` then if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub turns_at: Option<Timestamp>,
    /// It is stalled: its process lives, and its lock showed progress last then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stalled_since: Option<Timestamp>,
    /// Present and false when this instance does not watch it: all of this is the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
}

/// How a process ended: one of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExitBody {
    /// What it exited with, 0 to 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 255, example = 7)]
    pub code: Option<i32>,
    /// The signal that killed it: its name (`signal(7)`), or its number where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "SIGKILL")]
    pub signal: Option<Cow<'static, str>>,
}

impl From<Exit> for ExitBody {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self { code: Some(code), signal: None },
            Exit::Signal(signal) => Self { code: None, signal: Some(signal_word(signal)) },
        }
    }
}

/// A file that is or may be a lock and cannot be judged.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnreadableRow {
    /// Its name.
    pub file: String,
    /// Why.
    #[schema(value_type = super::openapi::words::UnreadableReason, example = "not_json")]
    pub reason: &'static str,
}

/// A list of migrations.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationList {
    /// Always true.
    pub success: bool,
    /// In the order of first sight.
    pub data: Vec<MigrationRow>,
    /// How many are in `data`.
    pub count: usize,
    /// Files that could not be judged.
    pub unreadable: Vec<UnreadableRow>,
    /// Present when there is more: the `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// Which migration, in the form of the earlier API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mapping {
    /// 1 to 2^53-1.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub brz_project_id: i64,
    /// As the runner writes it.
    pub mb_project_uuid: String,
    /// What changed last.
    pub changes_json: Changes,
    /// First sight.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last write.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// How far it is, as the lock has it.
#[derive(Debug, Serialize, ToSchema)]
#[allow(clippy::struct_field_names)] // The names of the earlier API.
pub struct Progress {
    /// As the lock has it.
    pub total_pages: Value,
    /// As the lock has it.
    pub processed_pages: Value,
    /// As the lock has it.
    pub progress_percent: Value,
}

/// What the lock says.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockInfo {
    /// As the lock has it.
    pub current_stage: Value,
    /// As the lock has it.
    pub started_at: Value,
    /// The PID in the lock.
    pub pid: Option<i64>,
}

/// One migration, in the form of the earlier API.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationBody {
    /// Which.
    pub mapping: Mapping,
    /// What the dashboard shows.
    #[schema(value_type = super::openapi::words::MigrationStatusWord, example = "in_progress")]
    pub status: &'static str,
    /// Reserved for the runner's own result.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// Reserved for the runner's own result.
    #[schema(value_type = Option<Object>)]
    pub result_data: Option<Value>,
    /// How far it is.
    pub progress: Progress,
    /// Reserved for the runner's own warnings.
    pub warnings: Vec<String>,
    /// What the lock says, or said last.
    pub lock_file_info: LockInfo,
    /// What is seen.
    #[schema(value_type = super::openapi::words::MigrationState, example = "alive")]
    pub state: &'static str,
    /// Counts the attempts, from 1.
    pub run: i64,
    /// Present and false when this instance does not watch it: all of this is the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
}

/// One migration.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationAnswer {
    /// Always true.
    pub success: bool,
    /// The migration.
    pub data: MigrationBody,
}

/// The status of one migration and where it comes from.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationStatus {
    /// 1 to 2^53-1.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub brz_project_id: i64,
    /// As the runner writes it.
    pub mb_project_uuid: String,
    /// What the dashboard shows.
    #[schema(value_type = super::openapi::words::MigrationStatusWord, example = "in_progress")]
    pub status: &'static str,
    /// Who said it; null while nobody had to.
    #[schema(value_type = Option<super::openapi::words::StatusSource>)]
    pub status_source: Option<&'static str>,
    /// The last change of `status`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub status_updated_at: Option<Timestamp>,
    /// What is seen.
    #[schema(value_type = super::openapi::words::MigrationState, example = "alive")]
    pub state: &'static str,
    /// Why.
    #[schema(value_type = Option<super::openapi::words::MigrationReason>)]
    pub reason: Option<&'static str>,
    /// The last change of `state`.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Counts the attempts, from 1.
    pub run: i64,
    /// Why it is `error`.
    pub error: Option<String>,
    /// When the run ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Whether the lock stands; where it is not watched here, by the record.
    pub lock_file_exists: bool,
    /// How its process ended, where the kernel told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitBody>,
    /// Its process is gone, and `status` turns to `error` then if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub turns_at: Option<Timestamp>,
    /// It is stalled: its process lives, and its lock showed progress last then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stalled_since: Option<Timestamp>,
    /// Present and false when this instance does not watch it: all of this is the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
}

/// The status of one migration.
#[derive(Debug, Serialize, ToSchema)]
pub struct MigrationStatusAnswer {
    /// Always true.
    pub success: bool,
    /// The status.
    pub data: MigrationStatus,
}

/// A value of the lock, as it has it; null where it has none.
pub fn lock_value(view: &MigrationView, key: &str) -> Value {
    view.lock.as_ref().and_then(|lock| lock.get(key)).cloned().unwrap_or(Value::Null)
}

/// `live`: said only where it is false.
pub fn live(view: &MigrationView) -> Option<bool> {
    (view.watch != Watch::Here).then_some(false)
}

/// Whether its lock stands. Of a run that is watched elsewhere the record tells: it is unfinished while the lock stands.
pub fn lock_stands(view: &MigrationView) -> bool {
    let row = &view.row;
    let by_record = !row.status.is_final() && row.lock_file.is_some() && !row.lock_taken;
    view.lock_exists || (view.watch != Watch::Here && by_record)
}

fn changes(row: &Migration) -> Changes {
    Changes {
        status: row.status.as_str(),
        error: row.error.clone(),
        status_updated_at: row.status_updated_at,
        monitor_updated: (row.status_source == Some(Source::Monitor)).then_some(true),
    }
}

/// One row of the list.
pub fn list_row(view: &MigrationView) -> MigrationRow {
    let row = &view.row;
    let (state, reason) = view.state();
    MigrationRow {
        id: row.key.brz_project_id,
        mb_project_uuid: row.key.mb_project_uuid.clone(),
        brz_project_id: row.key.brz_project_id,
        created_at: row.created_at,
        updated_at: row.updated_at,
        status: row.status.as_str(),
        changes_json: changes(row),
        result: None,
        state: state.as_str(),
        reason: reason.map(Reason::as_str),
        since: row.since,
        run: row.run,
        pid: row.lock_pid,
        instance: row.instance.clone(),
        current_stage: lock_value(view, "current_stage"),
        total_pages: lock_value(view, "total_pages"),
        processed_pages: lock_value(view, "processed_pages"),
        progress_percent: lock_value(view, "progress_percent"),
        exit: row.exit.map(ExitBody::from),
        turns_at: view.turns_at,
        stalled_since: view.stalled_since(),
        live: live(view),
    }
}

/// One migration in the form of the earlier API.
pub fn body(view: &MigrationView) -> MigrationAnswer {
    let row = &view.row;
    let data = MigrationBody {
        mapping: Mapping {
            brz_project_id: row.key.brz_project_id,
            mb_project_uuid: row.key.mb_project_uuid.clone(),
            changes_json: changes(row),
            created_at: row.created_at,
            updated_at: row.updated_at,
        },
        status: row.status.as_str(),
        result: None,
        result_data: None,
        progress: Progress {
            total_pages: lock_value(view, "total_pages"),
            processed_pages: lock_value(view, "processed_pages"),
            progress_percent: lock_value(view, "progress_percent"),
        },
        warnings: Vec::new(),
        lock_file_info: LockInfo {
            current_stage: lock_value(view, "current_stage"),
            started_at: lock_value(view, "started_at"),
            pid: row.lock_pid,
        },
        state: view.state().0.as_str(),
        run: row.run,
        live: live(view),
    };
    MigrationAnswer { success: true, data }
}

/// The status of one migration.
pub fn status(view: &MigrationView) -> MigrationStatusAnswer {
    let row = &view.row;
    let (state, reason) = view.state();
    let data = MigrationStatus {
        brz_project_id: row.key.brz_project_id,
        mb_project_uuid: row.key.mb_project_uuid.clone(),
        status: row.status.as_str(),
        status_source: row.status_source.map(Source::as_str),
        status_updated_at: row.status_updated_at,
        state: state.as_str(),
        reason: reason.map(Reason::as_str),
        since: row.since,
        run: row.run,
        error: row.error.clone(),
        ended_at: row.ended_at,
        lock_file_exists: lock_stands(view),
        exit: row.exit.map(ExitBody::from),
        turns_at: view.turns_at,
        stalled_since: view.stalled_since(),
        live: live(view),
    };
    MigrationStatusAnswer { success: true, data }
}

/// The files that could not be judged.
pub fn unreadable(files: &[Unreadable]) -> Vec<UnreadableRow> {
    files.iter().map(|it| UnreadableRow { file: it.file.clone(), reason: it.reason }).collect()
}
