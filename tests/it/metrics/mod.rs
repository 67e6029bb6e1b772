//! `/metrics` and what is shipped for it, with the real Prometheus, promtool and Alertmanager.

mod figures;

use std::time::Duration;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_secs(60);
