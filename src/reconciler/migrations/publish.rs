//! From rows and locks to what readers see.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Reconciler;
use crate::clock;
use crate::snapshot::{MigrationView, MigrationsPart, Watch};
use crate::store::StoredMigration;

/// What a tick may take beyond its interval before its word is no longer believed, at least.
const SLACK: Duration = Duration::from_secs(5);

impl Reconciler {
    pub(super) fn view(&self, stored: &StoredMigration) -> MigrationView {
        let standing = self.locks.get(&stored.row.key);
        let exit = self.exits.get(&stored.row.key).copied();
        let lock_exists = standing.is_some();
        let watch = Watch::Here;
        match standing.cloned().flatten() {
            None => MigrationView {
                lock_exists,
                exit,
                watch,
                ..MigrationView::recorded(stored.row.clone())
            },
            lock => MigrationView { row: stored.row.clone(), lock, lock_exists, exit, watch },
        }
    }

    /// Publishes the rows with what their locks say now.
    pub(super) fn publish(&self) {
        let mut rows: Vec<&Arc<StoredMigration>> =
            self.rows.iter().flat_map(|rows| rows.values()).collect();
        rows.sort_unstable_by_key(|stored| stored.id);
        let window = (self.parts.settings.interval.max(self.took) * 3).max(SLACK);
        self.parts.published.publish_migrations(MigrationsPart {
            generation: 0,
            migrations: rows.into_iter().map(|stored| Arc::new(self.view(stored))).collect(),
            unreadable: self.unreadable.clone(),
            foreign_files: self.foreign_files,
            valid_until: clock::now().up.plus(window),
            enabled: true,
            trouble: self.trouble.clone(),
            persisted: !self.parts.store_trouble.load(Ordering::Relaxed),
        });
    }
}
