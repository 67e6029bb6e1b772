//! Taking over what the database says: the registry, what others recorded, and who answers for what.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::Reconciler;
use super::entry::{Entry, vouched_up};
use super::fleet::cursors;
use super::io::{Rows, Synced};
use crate::clock;
use crate::domain::fleet::Placement;
use crate::domain::{Now, Uptime};
use crate::snapshot::Standing;
use crate::store::{NodeVersion, StoredNode};

/// Rows that are taken over before anything else has its turn: some 5 us each.
const TAKEN_AT_ONCE: usize = 5_000;

/// What was read, on its way into what is held.
#[derive(Debug)]
pub(super) struct Taking {
    rows: std::vec::IntoIter<StoredNode>,
    /// The ids of those that are gone.
    gone: Vec<i64>,
    versions: Option<Vec<NodeVersion>>,
    /// Who answers for what may be another one now.
    changed: bool,
    /// When it was read.
    at: Now,
    revision: i64,
    cursors: BTreeMap<String, i64>,
}

/// Nodes that are gone through at a time for what others vouch for.
const VOUCHED_AT_ONCE: usize = 10_000;

/// What others vouch for, and how far it has got.
#[derive(Debug)]
pub(super) struct Vouching {
    /// For each instance when it last looked at all its nodes.
    due: BTreeMap<String, Uptime>,
    /// The id from which on nodes have not heard of it yet.
    next: i64,
}

impl Reconciler {
    /// What was read of instances and nodes. Many rows are taken over some at a time; no job begins before the last.
    pub(super) fn take_over(&mut self, synced: Synced) {
        let moved = self.fleet.update(&synced);
        if moved {
            self.stand_all();
        }
        let (rows, gone, versions) = match synced.nodes {
            Rows::All(rows) => {
                let there: Vec<i64> = rows.iter().map(|it| it.node.id).collect();
                (rows, self.absent_from(&there), None)
            }
            Rows::Changed { rows, gone, versions } => (rows, gone, versions),
        };
        self.taking = Some(Taking {
            rows: rows.into_iter(),
            gone,
            versions,
            changed: moved,
            at: synced.at,
            revision: synced.fleet.revision,
            cursors: cursors(&synced.fleet),
        });
        if self.vouching.is_none() {
            self.vouching = self.fleet.vouchers().map(|due| Vouching { due, next: i64::MIN });
        }
        self.parts.published.publish_fleet(self.fleet.part());
        self.take_some();
    }

    /// Takes over some of the rows that were read; after the last of them, what follows from all.
    pub(super) fn take_some(&mut self) {
        let Some(mut taking) = self.taking.take() else { return };
        // What others recorded of their nodes changes nothing of who answers for what: that is most of what is read.
        for stored in taking.rows.by_ref().take(TAKEN_AT_ONCE) {
            taking.changed |= self.merge(stored, taking.at);
            self.pace.change();
        }
        if taking.rows.len() > 0 {
            self.taking = Some(taking);
        } else {
            self.taken_over(taking);
        }
    }

    fn taken_over(&mut self, taking: Taking) {
        let Taking { mut gone, versions, changed, .. } = taking;
        self.known.revision = Some(taking.revision);
        self.known.cursors = taking.cursors;
        self.known.stale.clear();
        self.known.reload = false;
        if let Some(versions) = versions {
            gone.extend(self.compare(&versions));
        }
        if changed || !gone.is_empty() {
            for id in gone {
                self.forget(id);
            }
            self.count();
            self.plan = true;
            self.pace.change();
        }
        // Whoever waits for the registry waits for all of it.
        if self.known.stale.is_empty() {
            self.waiting.published.append(&mut self.waiting.reading);
        }
    }

    /// Marks the rows to be read again: those that are not as they were read. Gives those that are gone.
    fn compare(&mut self, versions: &[NodeVersion]) -> Vec<i64> {
        for row in versions {
            let known = self.entries.get(&row.id);
            let same = |it: &Entry| (it.version, it.owner_epoch) == (row.version, row.owner_epoch);
            if !known.is_some_and(same) {
                self.known.stale.insert(row.id);
            }
        }
        let there: Vec<i64> = versions.iter().map(|row| row.id).collect();
        self.absent_from(&there)
    }

    /// The nodes held here that are not among these; ascending ids.
    fn absent_from(&self, there: &[i64]) -> Vec<i64> {
        self.entries.keys().filter(|id| there.binary_search(id).is_err()).copied().collect()
    }

    /// These are ours now, as the database has it.
    pub(super) fn taken(&mut self, asked: &[(i64, i64)], taken: &BTreeSet<i64>) {
        let me = self.parts.lease.name.clone();
        let now = Instant::now();
        for (id, epoch) in asked {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if !taken.contains(id) {
                self.known.stale.insert(*id);
                continue;
            }
            entry.owner = Some(me.clone());
            entry.owner_epoch = epoch + 1;
            entry.stand(Standing::Mine);
            entry.due = now;
            if entry.is_checked() && !entry.in_flight {
                self.queue.insert((now, *id));
            }
        }
        if !taken.is_empty() {
            tracing::info!(nodes = taken.len(), "nodes taken over");
        }
        self.count();
        self.pace.change();
    }

    /// Nodes that are ours are counted, and those of this pass that were not looked at yet.
    fn count(&mut self) {
        let pass = self.passes.current;
        let (mut mine, mut left) = (0, 0);
        for entry in self.entries.values().filter(|it| it.is_checked()) {
            mine += 1;
            left += usize::from(entry.pass != pass);
        }
        self.available = mine;
        self.passes.expect(left);
    }

    fn forget(&mut self, id: i64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.queue.remove(&(entry.due, id));
            self.dirty.remove(&id);
            self.parts.checker.reset(id);
            self.watch.release(id);
        }
    }

    /// New nodes are due at once, changed ones too. True unless only the verdict can be another one.
    fn merge(&mut self, stored: StoredNode, at: Now) -> bool {
        let (id, now) = (stored.node.id, Instant::now());
        let standing = self.fleet.standing(Placement::of(&stored.node), stored.owner.as_deref());
        let up = self.checked_up(&stored, &standing, at);
        let Some(entry) = self.entries.get_mut(&id) else {
            let entry = Entry::new(stored, standing, up, now);
            if entry.is_checked() {
                self.queue.insert((entry.due, id));
            }
            self.entries.insert(id, entry);
            return true;
        };
        // A row of before our own write, read by a connection that lags behind.
        if (stored.version, stored.owner_epoch) < (entry.version, entry.owner_epoch) {
            return false;
        }
        let changed = (entry.version, entry.owner_epoch) != (stored.version, stored.owner_epoch)
            || entry.view.standing != standing
            || matches!(standing, Standing::Lost { .. });
        let was_mine = entry.view.is_mine();
        // What another one recorded as turned is shown at once.
        self.pace.flipped |= !was_mine && stored.verdict.state != entry.view.verdict.state;
        self.queue.remove(&(entry.due, id));
        let merged = entry.merge(stored, standing, up);
        if merged.edited || was_mine != entry.view.is_mine() {
            self.parts.checker.reset(id);
        }
        if merged.reset {
            entry.due = now;
        }
        if merged.reset || !entry.is_checked() {
            self.watch.release(id);
        }
        if entry.is_dirty() {
            self.dirty.insert(id);
        } else {
            self.dirty.remove(&id);
        }
        if entry.is_checked() && !entry.in_flight {
            self.queue.insert((entry.due, id));
        }
        changed
    }

    /// When a row's verdict was last vouched for, on our boot clock.
    fn checked_up(&self, stored: &StoredNode, standing: &Standing, at: Now) -> Option<Uptime> {
        let checked_at = stored.verdict.checked_at?;
        let (here, own) = (&self.parts.here, self.fleet.own());
        match standing {
            Standing::Mine => vouched_up(Some(checked_at), own, here, clock::now()),
            // Recorded within the second before it was read: by the database's clock, for the owner's may be another.
            Standing::Of { owner, .. } => self.fleet.swept(owner).or(Some(at.up)),
            Standing::Lost { .. } | Standing::Released => {
                vouched_up(Some(checked_at), None, here, at)
            }
        }
    }

    /// Somebody came or went.
    fn stand_all(&mut self) {
        for entry in self.entries.values_mut().filter(|it| !it.view.is_mine()) {
            let placement = Placement::of(&entry.view.node);
            let standing = self.fleet.standing(placement, entry.owner.as_deref());
            entry.stand(standing);
        }
    }

    /// Others looked at their nodes and saw no change. Some of the nodes at a time.
    pub(super) fn vouch(&mut self) {
        let Some(mut at) = self.vouching.take() else { return };
        let mut left = VOUCHED_AT_ONCE;
        for (id, entry) in self.entries.range_mut(at.next..) {
            if left == 0 {
                at.next = *id;
                self.vouching = Some(at);
                break;
            }
            left -= 1;
            let up = entry.owner.as_ref().and_then(|owner| at.due.get(owner));
            if let Some(up) = up.filter(|_| !entry.view.is_mine()) {
                entry.vouch(*up);
                self.pace.change();
            }
        }
    }
}
