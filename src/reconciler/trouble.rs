//! Saying once that the database fails, and once that it is back.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::gauges::Gauges;
use crate::store::StoreError;

/// The database took a write. That it can be read proves nothing: SQLite reads beside a writer that never ends.
pub(super) fn works(flag: &AtomicBool) {
    if flag.swap(false, Ordering::Relaxed) {
        tracing::info!("the database is back");
    }
}

/// The database failed.
pub(super) fn fails(flag: &AtomicBool, gauges: &Gauges, error: &StoreError) {
    gauges.store_failed();
    if !flag.swap(true, Ordering::Relaxed) {
        tracing::error!(
            error = %error.chain(),
            "the database fails; checks go on, nothing is recorded until it is back"
        );
    }
}
