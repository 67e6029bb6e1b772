//! How long what was is kept.

use std::time::Duration;

/// What is kept of what was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Events, and when somebody watched, are removed after this.
    pub retain: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self { retain: Duration::from_hours(90 * 24) }
    }
}
