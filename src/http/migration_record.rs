//! `GET /migrations/{id}/process` of a migration that another instance watches: its process is on that one's host, so
//! the record is all that can be told here.

use super::migration_bodies::{live, lock_stands, lock_value};
use super::migration_process::{PredicateBody, ProcessBody, ProcessReport};
use crate::domain::migration::State;
use crate::domain::reconcile::Outcome;
use crate::snapshot::{MigrationView, Watch};

/// What is recorded; `instance` is the one that watches it.
pub fn report(view: &MigrationView, instance: &str) -> ProcessReport {
    let row = &view.row;
    let process = ProcessBody {
        running: matches!(view.state().0, State::Alive | State::Stalled),
        pid: row.lock_pid,
        message: message(view, instance),
        detected_by: row.lock_pid.map(|_| "recorded_pid"),
        lock_file_age: None,
        started_at: lock_value(view, "started_at"),
        current_stage: lock_value(view, "current_stage"),
        stage_updated_at: lock_value(view, "stage_updated_at"),
        total_pages: lock_value(view, "total_pages"),
        processed_pages: lock_value(view, "processed_pages"),
        progress_percent: lock_value(view, "progress_percent"),
    };
    let watched_here = PredicateBody {
        predicate: "watched_here",
        value: instance.to_owned(),
        threshold: None,
        holds: false,
    };
    ProcessReport {
        lock_file_exists: lock_stands(view),
        lock_file: row.lock_file.clone(),
        status_updated: false,
        process,
        process_details: None,
        explain: vec![watched_here],
        verdict: Outcome::None.as_str(),
        would: Vec::new(),
        live: live(view),
    }
}

fn message(view: &MigrationView, instance: &str) -> String {
    let row = &view.row;
    if row.status.is_final() {
        return format!("The run has ended: {}", row.status);
    }
    let who = row.lock_pid.map_or_else(|| "The process".to_owned(), |pid| format!("Process {pid}"));
    match view.watch {
        Watch::Lost => format!("{who} was watched by the instance '{instance}', which is lost"),
        _ => {
            format!("{who} is watched by the instance '{instance}', {} by its record", row.state)
        }
    }
}
