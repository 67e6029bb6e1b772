//! The reconcilers: one idempotent tick each, woken by time, by an event or by a request.
//! They are the only writers of verdicts.

pub mod migrations;
pub mod nodes;
mod trouble;
