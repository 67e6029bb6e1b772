//! From rows and locks to what readers see.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Reconciler;
use super::follow::watch_of;
use crate::clock;
use crate::domain::migration::Migration;
use crate::domain::reconcile::is_ours;
use crate::snapshot::{MigrationView, MigrationsPart, Watch};
use crate::store::StoredMigration;

/// What a tick may take beyond its interval before its word is no longer believed, at least.
const SLACK: Duration = Duration::from_secs(5);

impl Reconciler {
    pub(super) fn view(&self, stored: &StoredMigration) -> MigrationView {
        let standing = self.locks.get(&stored.row.key);
        let exit = self.exits.get(&stored.row.key).copied();
        let lock_exists = standing.is_some();
        let watch = self.watch(&stored.row);
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

    fn watch(&self, row: &Migration) -> Watch {
        let fleet = &self.parts.published.load().fleet;
        let ours =
            self.rules.as_ref().map_or(row.instance == fleet.here, |rules| is_ours(row, rules));
        if ours || fleet.sole { Watch::Here } else { watch_of(row, &fleet.live()) }
    }

    /// A row of theirs that they have deleted goes from the list as well, once nothing of it is left here.
    fn is_shown(&self, stored: &StoredMigration) -> bool {
        let row = &stored.row;
        let over = row.status.is_final() || row.is_announced();
        let deleted = self.adoption.as_ref().is_some_and(|it| it.theirs.is_deleted(&row.key));
        !(deleted && over && row.their_status.is_some() && !self.locks.contains_key(&row.key))
    }

    /// Publishes the rows with what their locks say now.
    pub(super) fn publish(&self) {
        let mut rows: Vec<&Arc<StoredMigration>> = self
            .rows
            .iter()
            .flat_map(|rows| rows.values())
            .filter(|it| self.is_shown(it))
            .collect();
        rows.sort_unstable_by_key(|stored| stored.id);
        let window = (self.parts.settings.interval.max(self.took) * 3).max(SLACK);
        // A database that gives no answer is waited for so long, and then this is published again.
        let window = window + self.parts.store.limit();
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
