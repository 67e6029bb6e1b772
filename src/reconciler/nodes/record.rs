//! What the node reconciler exchanges with the store and the readers: the registry in, verdicts and snapshots out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::entry::{Entry, vouched_up};
use super::{BEAT_EVERY, DATABASE_REST, FLUSH_SHARE, PUBLISH_EVERY, Reconciler};
use crate::clock;
use crate::domain::node::Node;
use crate::domain::verdict::{State, Verdict};
use crate::snapshot::NodesPart;
use crate::store::{Beat, StoreError, StoredNode};

impl Reconciler {
    /// Reads the registry if somebody wrote it, and beats from time to time.
    pub(super) async fn poll(&mut self) {
        match self.parts.store.revision().await {
            Ok(revision) if self.revision == Some(revision) => {}
            Ok(_) => self.reload().await,
            Err(error) => self.store_fails(&error),
        }
        // The heartbeat is a write, so it is what tells that the database is back.
        if self.beat_at.elapsed() >= BEAT_EVERY || self.parts.store_trouble.load(Ordering::Relaxed)
        {
            self.beat().await;
        }
        // What could not be recorded is tried again; a verdict of an earlier life may have grown stale.
        self.changed |= !self.dirty.is_empty() || self.passes.swept.is_none();
    }

    /// When there is something to publish: after a flip as soon as the last flush is paid for, else once a second.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        if self.flipped {
            Some(self.published_at + (self.flush_cost * FLUSH_SHARE).min(PUBLISH_EVERY))
        } else if self.changed {
            Some(self.published_at + PUBLISH_EVERY)
        } else {
            None
        }
    }

    /// Reads the registry: new nodes are due at once, changed ones too, removed ones are forgotten.
    pub(super) async fn reload(&mut self) {
        let read = async {
            let fleet = self.parts.store.fleet().await?;
            Ok::<_, StoreError>((fleet.revision, fleet.instances, self.parts.store.nodes().await?))
        };
        let (revision, instances, nodes) = match read.await {
            Ok(read) => read,
            Err(error) => return self.store_fails(&error),
        };
        self.revision = Some(revision);
        let own = instances.iter().find(|row| row.name == self.parts.lease.name);
        let now = clock::now();
        let keep: std::collections::BTreeSet<i64> = nodes.iter().map(|it| it.node.id).collect();
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            if !keep.contains(&id) {
                self.forget(id);
            }
        }
        for stored in nodes {
            let up = vouched_up(stored.verdict.checked_at, own, &self.parts.here, now);
            self.take(stored, up);
        }
        let pass = self.passes.current;
        let available = || self.entries.values().filter(|it| it.view.node.available);
        self.available = available().count();
        self.passes.expect(available().filter(|it| it.pass != pass).count());
        self.changed = true;
    }

    fn forget(&mut self, id: i64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.queue.remove(&(entry.due, id));
            self.dirty.remove(&id);
            self.parts.checker.reset(id);
        }
    }

    fn take(&mut self, stored: StoredNode, checked_up: Option<crate::domain::Uptime>) {
        let (id, now) = (stored.node.id, Instant::now());
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.version == stored.version {
                return;
            }
            self.queue.remove(&(entry.due, id));
            self.parts.checker.reset(id);
            if entry.edit(stored) {
                self.dirty.remove(&id);
                entry.due = now;
            } else if entry.is_dirty() {
                self.dirty.insert(id);
            }
        } else {
            self.entries.insert(id, Entry::new(stored, checked_up, now));
        }
        let Some(entry) = self.entries.get(&id) else { return };
        if entry.view.node.available && !entry.in_flight {
            self.queue.insert((entry.due, id));
        }
    }

    /// Records what changed and publishes: at once after a flip, else at most once a second.
    pub(super) async fn flush(&mut self, force: bool) {
        let began = Instant::now();
        if !(force || self.flush_due().is_some_and(|due| due <= began)) {
            return;
        }
        // While the database fails, readers are served first: it may keep us waiting.
        if self.parts.store_trouble.load(Ordering::Relaxed) {
            self.publish();
        }
        self.record().await;
        self.publish();
        self.flush_cost = began.elapsed();
    }

    async fn record(&mut self) {
        let writes: Vec<_> = self
            .dirty
            .iter()
            .filter_map(|id| self.entries.get(id))
            .map(|entry| entry.write(&self.parts.here))
            .collect();
        if writes.is_empty() || self.database_rests() {
            return;
        }
        let now = clock::now().wall;
        match self.parts.store.record_verdicts(&self.parts.lease, &writes, now).await {
            Ok(_) => {
                for id in std::mem::take(&mut self.dirty) {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.recorded = entry.view.verdict.clone();
                    }
                }
                self.store_works();
            }
            Err(error) => self.store_fails(&error),
        }
    }

    fn publish(&mut self) {
        let now = clock::now().up;
        let window = self.window();
        let nodes: Vec<_> = self.entries.values().map(|it| Arc::clone(&it.view)).collect();
        let total = nodes.iter().filter(|it| it.node.available).count();
        let working = nodes.iter().filter(|it| it.state(now, window) == State::Up).count();
        self.parts.published.publish_nodes(NodesPart {
            generation: 0,
            window,
            valid_until: self.passes.valid_until(window),
            total: total as u64,
            working: working as u64,
            persisted: self.dirty.is_empty(),
            passed: self.passes.swept.is_some(),
            last_pass: self.passes.last,
            nodes,
        });
        self.published_at = Instant::now();
        self.changed = false;
        self.flipped = false;
        for done in self.waiting.drain(..) {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }

    /// Writes the heartbeat: it vouches for every verdict that did not change.
    pub(super) async fn beat(&mut self) {
        if self.database_rests() {
            return;
        }
        self.beat_at = Instant::now();
        let beat = Beat {
            window: self.window(),
            swept_ago: self.passes.swept.map(|now| clock::now().up.since(now.up)),
            swept: self.passes.swept.map(|now| (now.wall, now.up)),
            tick_ms: i64::try_from(self.passes.last.as_millis()).unwrap_or(i64::MAX),
            nodes: i64::try_from(self.available).unwrap_or(i64::MAX),
            locks: i64::try_from(self.parts.published.load().migrations.locks()).unwrap_or(0),
        };
        match self.parts.store.beat(&self.parts.lease, &beat).await {
            Ok(()) => self.store_works(),
            Err(error) => self.store_fails(&error),
        }
    }

    fn store_works(&self) {
        super::super::trouble::works(&self.parts.store_trouble);
    }

    /// Is it too early to try a database again that failed? It may keep us waiting for seconds, and the checks wait
    /// with us: without a pause the verdicts of a short interval would become stale.
    fn database_rests(&self) -> bool {
        self.parts.store_trouble.load(Ordering::Relaxed)
            && self.failed_at.is_some_and(|at| at.elapsed() < DATABASE_REST)
    }

    fn store_fails(&mut self, error: &StoreError) {
        self.failed_at = Some(Instant::now());
        super::super::trouble::fails(&self.parts.store_trouble, error);
    }
}

/// One line for a flip.
pub(super) fn announce(node: &Node, previous: &Verdict, verdict: &Verdict) {
    let reason = verdict.reason.map_or("-", crate::domain::observation::Reason::as_str);
    let (name, from, to, text) = (&node.name, previous.state, verdict.state, &verdict.message);
    if to == State::Down {
        tracing::warn!(node = %name, %from, %to, reason, "{text}");
    } else {
        tracing::info!(node = %name, %from, %to, reason, "{text}");
    }
}
