//! From rows and locks to what readers see: only what changed is made anew.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Reconciler;
use super::follow::watch_of;
use crate::clock;
use crate::domain::migration::{Key, Migration};
use crate::domain::reconcile::{Decision, is_ours};
use crate::domain::{Now, Timestamp};
use crate::events::{News, Subject};
use crate::snapshot::{MigrationView, MigrationsPart, Watch};
use crate::store::StoredMigration;

use super::observe::Seen;

/// What a tick may take beyond its interval before its word is no longer believed, at least.
const SLACK: Duration = Duration::from_secs(5);

/// The progress of runners is shown at most this often; what turns is shown at once.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// After a publication that took this share of the time, the next one waits: with a hundred thousand rows it takes
/// milliseconds, and deaths come by the hundred.
const SHARE: u32 = 10;

/// What readers see, and which of it is out of date.
#[derive(Debug)]
pub(super) struct Views {
    by_row: BTreeMap<i64, Arc<MigrationView>>,
    stale: HashSet<Key>,
    all: bool,
    urgent: bool,
    published_at: Instant,
    /// How long the last publication took.
    cost: Duration,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            by_row: BTreeMap::new(),
            stale: HashSet::new(),
            all: true,
            urgent: true,
            published_at: Instant::now(),
            cost: Duration::ZERO,
        }
    }
}

impl Views {
    /// Something of it turned: readers see it at once.
    pub(super) fn turned(&mut self, key: &Key) {
        self.urgent = true;
        self.stale.insert(key.clone());
    }

    /// Its runner wrote how far it is.
    pub(super) fn moved(&mut self, key: &Key) {
        self.stale.insert(key.clone());
    }

    /// All are out of date.
    pub(super) const fn all_turned(&mut self) {
        self.urgent = true;
        self.all = true;
    }

    /// When there is something to publish: what turned at once, unless that takes more than its share of the time.
    pub(super) fn due(&self) -> Option<Instant> {
        let pause =
            if self.urgent { (self.cost * SHARE).min(PUBLISH_EVERY) } else { PUBLISH_EVERY };
        (self.urgent || !self.stale.is_empty()).then(|| self.published_at + pause)
    }
}

impl Reconciler {
    pub(super) fn view(&self, stored: &StoredMigration) -> MigrationView {
        let key = &stored.row.key;
        let standing = self.locks.get(key);
        let base = match standing.cloned().flatten() {
            None => MigrationView::recorded(stored.row.clone()),
            lock => MigrationView { lock, ..MigrationView::without_lock(stored.row.clone()) },
        };
        MigrationView {
            lock_exists: standing.is_some(),
            watch: self.watch(&stored.row),
            turns_at: self.turns_at.get(key).copied(),
            ..base
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

    fn make_views(&mut self) {
        let stale = std::mem::take(&mut self.views.stale);
        // What is shown of theirs depends on more than its row.
        if std::mem::take(&mut self.views.all) || self.adoption.is_some() {
            let rows = self.rows.iter().flat_map(|rows| rows.values());
            let shown = rows.filter(|stored| self.is_shown(stored));
            self.views.by_row =
                shown.map(|stored| (stored.id, Arc::new(self.view(stored)))).collect();
            return;
        }
        for key in stale {
            if let Some(stored) = self.row(&key).cloned() {
                let view = Arc::new(self.view(&stored));
                self.views.by_row.insert(stored.id, view);
            }
        }
    }

    /// Publishes the rows with what their locks say now.
    pub(super) fn publish(&mut self) {
        let began = Instant::now();
        self.make_views();
        self.views.urgent = false;
        let window = (self.parts.settings.interval.max(self.took) * 3).max(SLACK);
        // A database that gives no answer is waited for so long, and then this is published again.
        let window = window + self.parts.store.limit();
        self.parts.published.publish_migrations(MigrationsPart {
            generation: 0,
            migrations: self.views.by_row.values().map(Arc::clone).collect(),
            unreadable: self.unreadable.clone(),
            foreign_files: self.foreign_files,
            valid_until: clock::now().up.plus(window),
            enabled: true,
            trouble: self.trouble.clone(),
            persisted: !self.parts.store_trouble.load(Ordering::Relaxed),
        });
        self.views.published_at = Instant::now();
        self.views.cost = began.elapsed();
    }

    /// Tells at once what was seen of a migration that is not what the row says; once, however long it is until the row
    /// says it.
    pub(super) fn tell_observed(&mut self, seen: &Seen, decision: &Decision, now: Now) {
        let Some(next) = &decision.row else { return };
        let says = (next.status, next.state, next.reason);
        if seen.row().is_some_and(|row| (row.status, row.state, row.reason) == says) {
            return;
        }
        if self.told.insert(seen.key.clone(), says) == Some(says)
            || !self.parts.events.has_listeners()
        {
            return;
        }
        self.parts.events.tell(news(next, now.wall));
    }
}

fn news(row: &Migration, at: Timestamp) -> News {
    News {
        subject: Subject::Migration {
            id: row.key.brz_project_id,
            mb_project_uuid: row.key.mb_project_uuid.clone(),
        },
        state: row.state.as_str().to_owned(),
        reason: row.reason.map(|reason| reason.as_str().to_owned()),
        at,
        committed: None,
    }
}
