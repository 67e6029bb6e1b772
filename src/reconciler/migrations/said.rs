//! What is said in the log: each thing once, until it changes.

use super::Reconciler;
use super::observe::Whole;
use crate::domain::migration::{Migration, Status};

impl Reconciler {
    /// Says once what cannot be read.
    pub(super) fn say(&mut self, whole: &Whole) {
        self.unreadable.clone_from(&whole.unreadable);
        self.foreign_files = whole.foreign_files;
        self.trouble.clone_from(&whole.trouble);
        if whole.trouble != self.said.trouble {
            let path = self.parts.dir.path().display();
            let from = &self.parts.settings.lock_dir_source;
            if let Some(error) = &whole.trouble {
                tracing::warn!(%path, from, error, "the lock directory cannot be read");
            } else {
                tracing::info!(%path, "the lock directory can be read");
            }
            self.said.trouble.clone_from(&whole.trouble);
        }
        for it in &whole.unreadable {
            if self.said.unreadable.insert(it.clone()) {
                tracing::warn!(file = it.file, reason = it.reason, "a lock cannot be judged");
            }
        }
        self.said.unreadable.retain(|it| whole.unreadable.contains(it));
    }
}

/// One line for a flip.
pub(super) fn announce(before: &Migration, after: &Migration) {
    let reason = after.reason.map_or("-", crate::domain::migration::Reason::as_str);
    if before.status != after.status || before.run != after.run {
        let (key, run, from, to) = (&after.key, after.run, before.status, after.status);
        let text = after.error.as_deref().unwrap_or("status changed");
        if to == Status::Error {
            tracing::warn!(migration = %key, run, %from, %to, reason, "{text}");
        } else {
            tracing::info!(migration = %key, run, %from, %to, reason, "{text}");
        }
    } else if before.state != after.state {
        tracing::debug!(migration = %after.key, from = %before.state, to = %after.state, reason, "state changed");
    }
}
