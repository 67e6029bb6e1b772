//! One node as the reconciler holds it: the row, the verdict now, the verdict that is recorded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::observation::Reason;
use crate::domain::verdict::{State, Verdict};
use crate::domain::{Exit, Here, Identity, Now, Timestamp, Uptime};
use crate::snapshot::{NodeView, Standing};
use crate::store::{InstanceRow, StoredNode, VerdictWrite};

/// What is said of a node that nobody looks at.
const LOST: &str = "The instance that watches it is lost";

/// What a row that was read again changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merged {
    /// Its operator wrote it.
    pub(super) edited: bool,
    /// What is checked is another thing, or ours only now: a look is due.
    pub(super) reset: bool,
}

/// A node of the registry.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is its own fact; none excludes another.
pub(super) struct Entry {
    /// The node and the verdict that readers are shown.
    pub(super) view: Arc<NodeView>,
    /// The version of the row.
    pub(super) version: i64,
    /// Who answers for it by the row.
    pub(super) owner: Option<String>,
    /// The epoch of its owner.
    pub(super) owner_epoch: i64,
    /// The verdict as the database has it.
    pub(super) recorded: Verdict,
    /// When it is to be checked next.
    pub(super) due: Instant,
    /// A check is under way.
    pub(super) in_flight: bool,
    /// It was woken while a check was under way.
    pub(super) again: bool,
    /// Its checks have been spread over the interval.
    pub(super) spread: bool,
    /// The last pass in which it was looked at.
    pub(super) pass: u64,
    /// How its process ended, as the verdict tells it.
    told: Option<(i64, Exit)>,
    /// The record does not tell yet how its process ended.
    retell: bool,
}

impl Entry {
    /// From a row; `checked_up` is what its verdict's age comes to on the boot clock.
    pub(super) fn new(
        stored: StoredNode,
        standing: Standing,
        checked_up: Option<Uptime>,
        due: Instant,
    ) -> Self {
        let verdict = Verdict { checked_up, ..stored.verdict };
        Self {
            recorded: verdict.clone(),
            view: Arc::new(NodeView { node: stored.node.into(), verdict, standing }),
            version: stored.version,
            owner: stored.owner,
            owner_epoch: stored.owner_epoch,
            due,
            in_flight: false,
            again: false,
            spread: false,
            pass: 0,
            told: None,
            retell: false,
        }
    }

    /// Takes over the row as it stands now: what its operator changed, who answers for it, what is recorded. The verdict
    /// of our own looks stays, as long as the node is ours and the same.
    pub(super) fn merge(
        &mut self,
        stored: StoredNode,
        standing: Standing,
        checked_up: Option<Uptime>,
    ) -> Merged {
        let was_mine = self.view.is_mine();
        let mine = standing == Standing::Mine;
        let edited = self.version != stored.version;
        let reset = edited && !stored.node.same_target(&self.view.node);
        let verdict = if was_mine && mine && !reset {
            self.view.verdict.clone()
        } else {
            Verdict { checked_up, ..stored.verdict.clone() }
        };
        // Not what was sent there last: a verdict on the version of before the edit was not taken.
        self.recorded = stored.verdict;
        self.version = stored.version;
        self.owner = stored.owner;
        self.owner_epoch = stored.owner_epoch;
        let mut node = stored.node;
        node.identity.clone_from(&verdict.identity);
        self.view = Arc::new(NodeView { node: node.into(), verdict, standing });
        Merged { edited, reset: reset || (mine && !was_mine) }
    }

    /// Another one answers for it, or is judged otherwise.
    pub(super) fn stand(&mut self, standing: Standing) {
        if self.view.standing != standing {
            self.view = Arc::new(NodeView { standing, ..NodeView::clone(&self.view) });
        }
    }

    /// Its owner looked at it then, and nothing had changed.
    pub(super) fn vouch(&mut self, up: Uptime) {
        let verdict = &self.view.verdict;
        if verdict.checked_at.is_some() && verdict.checked_up.is_none_or(|known| known < up) {
            let verdict = Verdict { checked_up: Some(up), ..verdict.clone() };
            self.view = Arc::new(NodeView { verdict, ..NodeView::clone(&self.view) });
        }
    }

    /// Takes over a new verdict.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        let mut node = Arc::clone(&self.view.node);
        if node.identity != verdict.identity {
            Arc::make_mut(&mut node).identity.clone_from(&verdict.identity);
        }
        self.view = Arc::new(NodeView { node, verdict, standing: self.view.standing.clone() });
    }

    /// The verdict tells how its process ended; that may be known only after the flip was recorded.
    pub(super) fn tell(&mut self, end: Option<(i64, Exit)>) {
        self.retell |= end.is_some() && end != self.told;
        self.told = end;
    }

    /// This process is the node. True if that is to be recorded.
    pub(super) fn identify(&mut self, identity: Identity) -> bool {
        let known = self.view.node.identity.as_ref();
        if known.is_none_or(|known| {
            known.pid_ns != identity.pid_ns
                || known.boot_id != identity.boot_id
                || known.differs_from(&identity)
        }) {
            self.judge(Verdict { identity: Some(identity), ..self.view.verdict.clone() });
        }
        self.is_dirty()
    }

    /// The record is this now.
    pub(super) fn record(&mut self, verdict: Verdict) {
        self.retell &= verdict.data != self.view.verdict.data;
        self.recorded = verdict;
    }

    /// Is it ours to check?
    pub(super) fn is_checked(&self) -> bool {
        self.view.node.available && self.view.is_mine()
    }

    /// Does the database have to learn of it?
    pub(super) fn is_dirty(&self) -> bool {
        self.view.is_mine() && (self.retell || self.view.verdict.changed_from(&self.recorded))
    }

    /// What the database has to learn. A flip is against what is recorded: what turned and turned back while the
    /// database was away is no flip.
    pub(super) fn write(&self, here: &Here) -> VerdictWrite {
        self.write_of(self.view.verdict.clone(), here)
    }

    /// What the database has to learn of a node whose instance is lost, if it does not know yet.
    pub(super) fn obituary(&self, here: &Here, now: Timestamp) -> Option<VerdictWrite> {
        let known = self.recorded.reason == Some(Reason::InstanceLost);
        if known
            || !self.view.node.available
            || !matches!(self.view.standing, Standing::Lost { .. })
        {
            return None;
        }
        let turned = self.recorded.state != State::Unknown;
        let verdict = Verdict {
            state: State::Unknown,
            reason: Some(Reason::InstanceLost),
            message: LOST.to_owned(),
            since: if turned { Some(now) } else { self.recorded.since },
            streak: 0,
            ..self.recorded.clone()
        };
        Some(self.write_of(verdict, here))
    }

    fn write_of(&self, verdict: Verdict, here: &Here) -> VerdictWrite {
        VerdictWrite {
            id: self.view.node.id,
            name: self.view.node.name.clone(),
            version: self.version,
            owner_epoch: self.owner_epoch,
            was: self.recorded.state,
            host_id: here.host_id.clone(),
            flip: verdict.flipped_from(&self.recorded),
            verdict,
        }
    }

    /// Does its last look say that the next one may take the whole timeout?
    pub(super) fn is_slow(&self) -> bool {
        matches!(
            self.view.verdict.reason,
            Some(
                Reason::ApiTimeout
                    | Reason::Busy
                    | Reason::Hung
                    | Reason::ProcessStopped
                    | Reason::ConnectTimeout
                    | Reason::Dns
            )
        )
    }

    /// When it is due after a check that was due at `due`. The first time its place in the interval is chosen, so
    /// that nodes that started together do not stay together; nobody waits longer than the interval.
    pub(super) fn reschedule(&mut self, interval: Duration, now: Instant) {
        let next = if self.spread {
            self.due + interval
        } else {
            self.spread = true;
            self.due + interval.mul_f64(phase(self.view.node.id))
        };
        self.due = next.max(now);
    }
}

/// A node's place in the interval, in (0, 1]: multiples of the golden ratio fill it evenly for ids in any order
/// (Knuth, TAOCP vol. 3, section 6.4).
fn phase(id: i64) -> f64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = id.cast_unsigned().wrapping_mul(GOLDEN) >> 32;
    // The upper 32 bits are exact in an f64.
    (f64::from(u32::try_from(mixed).unwrap_or(u32::MAX)) + 1.0) / (f64::from(u32::MAX) + 1.0)
}

/// The moment on the boot clock at which a recorded verdict was last vouched for: by its own look, or by the last
/// whole pass of its instance. A time in the future is no proof of freshness.
pub(super) fn vouched_up(
    checked_at: Option<Timestamp>,
    instance: Option<&InstanceRow>,
    here: &Here,
    now: Now,
) -> Option<Uptime> {
    let checked_at = checked_at?;
    let by_wall = |at: Timestamp| (at <= now.wall).then(|| now.up.minus(now.wall.since(at)));
    let swept = instance.and_then(|row| match row.swept_up {
        Some(up) if row.boot_id == here.boot_id => Some(Uptime(up)),
        _ => row.swept_at.and_then(|at| by_wall(Timestamp(at))),
    });
    // Nothing comparable: it was checked once, but as long ago as the machine runs for all we know.
    Some(by_wall(checked_at).max(swept).unwrap_or(Uptime(i64::MIN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::Node;
    use crate::store::Origin;

    #[test]
    fn ten_thousand_nodes_come_evenly() {
        let mut tenths = [0_u32; 10];
        for id in 1..=10_000 {
            let place = (phase(id) * 10.0).ceil() - 1.0;
            for (tenth, count) in (0_u8..).zip(tenths.iter_mut()) {
                if (place - f64::from(tenth)).abs() < 0.5 {
                    *count += 1;
                }
            }
        }
        assert!(tenths.iter().all(|n| (950..=1050).contains(n)), "{tenths:?}");
    }

    fn stored(version: i64, state: State) -> StoredNode {
        let node = Node {
            id: 1,
            title: Some(format!("title {version}")),
            ..Node::new("a", "127.0.0.1", 1, "here")
        };
        let checked_at = Some(Timestamp(1));
        let verdict = Verdict { state, checked_at, ..Verdict::default() };
        StoredNode {
            node,
            version,
            origin: Origin::User,
            owner: Some("here".into()),
            owner_epoch: 0,
            verdict,
        }
    }

    #[test]
    fn a_verdict_that_an_edit_kept_out_of_the_database_is_still_to_be_recorded() {
        let mut entry = Entry::new(stored(1, State::Up), Standing::Mine, None, Instant::now());
        let down = Verdict { state: State::Down, ..entry.view.verdict.clone() };
        entry.judge(down);
        assert!(entry.is_dirty());
        // It was sent for version 1, but the row was at version 2 by then and kept what it had.
        entry.recorded = entry.view.verdict.clone();
        let merged = entry.merge(stored(2, State::Up), Standing::Mine, None);
        assert_eq!(merged, Merged { edited: true, reset: false }, "a title is no other target");
        assert!(entry.is_dirty(), "the row still says up");
        let write = entry.write(&Here::default());
        assert!(write.flip, "the event was not written either");
        assert_eq!((write.version, write.verdict.state), (2, State::Down));
    }

    #[test]
    fn a_wall_clock_that_stepped_back_makes_nothing_fresh() {
        let here = Here { boot_id: "b".into(), ..Here::default() };
        let now = Now { wall: Timestamp(1_000), up: Uptime(50_000) };
        assert_eq!(vouched_up(Some(Timestamp(9_000)), None, &here, now), Some(Uptime(i64::MIN)));
        assert_eq!(vouched_up(Some(Timestamp(400)), None, &here, now), Some(Uptime(49_400)));
        assert_eq!(vouched_up(None, None, &here, now), None);
    }
}
