//! What procwarden talks about, and how it judges: plain types and pure functions.
//!
//! Nothing here does I/O, spawns, or knows a database, an HTTP library or a clock: the time is an
//! argument. Every type is `Clone + Eq + Hash`, and there are no floats, so a decision can be
//! replayed, compared and put into a table of test cases.

pub mod access;
pub mod adopt;
pub mod alert;
pub mod alert_text;
pub mod details;
pub mod discover;
pub mod fleet;
pub mod migration;
pub mod node;
pub mod observation;
pub mod plain;
pub mod process;
pub mod reconcile;
pub mod report;
pub mod service;
pub mod time;
pub mod uptime;
pub mod verdict;

#[cfg(test)]
mod tests;

pub use migration::{Key, Migration};
pub use node::{Method, Node};
pub use observation::Observation;
pub use process::{Exit, Here, Identity, Presence};
pub use service::{Kind, Service};
pub use time::{Now, Timestamp, Uptime};
