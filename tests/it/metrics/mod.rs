//! `/metrics` and what is shipped for it, with the real Prometheus, promtool and Alertmanager.

mod alerts;
mod figures;
mod shipped;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// What is shipped under this name.
fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}
