//! Who there is, and what that means for each node: ours, another live instance's, a lost one's, nobody's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::entry::Entry;
use super::io::Synced;
use crate::domain::fleet::{Patience, Placement, Share, to_claim};
use crate::domain::{Now, Timestamp, Uptime};
use crate::snapshot::{FleetPart, InstanceView, Standing};
use crate::store::{self, Fleet, InstanceRow};

/// A part of the window after which what an owner vouches for is taken over into its nodes' views: not at each beat.
const VOUCH_SHARE: u32 = 4;

/// How far the database's clock may run from ours between two looks: slow answers, and a clock that is being adjusted.
const CLOCK_JUMP_MS: i64 = 2000;

/// What is known of the instances.
#[derive(Debug)]
pub(super) struct View {
    me: String,
    sole: bool,
    patience: Patience,
    rows: BTreeMap<String, Other>,
    /// Sorted names of those that are live, ours included.
    live: Vec<String>,
    /// Sorted names of those that are gone for good, as far as can be told.
    lost: Vec<String>,
    /// Our own last heartbeat holds. It does not in what is read by one that stood still in between.
    beats: bool,
    /// The last time read from the database's clock, and when that was.
    now: i64,
    read_at: Option<Uptime>,
}

/// An instance as last read.
#[derive(Debug)]
struct Other {
    row: InstanceRow,
    live: bool,
    /// Its last heartbeat would not hold any more, had it said goodbye or not: one that only starts again is not mourned.
    lost: bool,
    /// When it last looked at all its nodes, on our boot clock.
    swept: Option<Uptime>,
    /// The same, as its nodes' views have it.
    vouched: Option<Uptime>,
}

impl View {
    pub(super) fn new(me: String, sole: bool, lease: Duration) -> Self {
        let live = vec![me.clone()];
        Self {
            me,
            sole,
            patience: Patience::new(lease),
            rows: BTreeMap::new(),
            live,
            lost: Vec::new(),
            beats: false,
            now: 0,
            read_at: None,
        }
    }

    /// Takes over what was read; true if somebody came, went, or is judged otherwise.
    pub(super) fn update(&mut self, synced: &Synced) -> bool {
        if self.clock_jumped(synced) {
            // Every lease is measured by another clock now.
            self.patience.trouble();
        }
        if synced.beaten {
            self.patience.beat_ok(synced.at.up);
        }
        let may_judge = self.patience.may_judge(synced.at.up);
        let fleet = &synced.fleet;
        let mut rows = BTreeMap::new();
        for row in &fleet.instances {
            let before = self.rows.remove(&row.name);
            // One that said goodbye is gone for certain; any other may only have been without its database, as we were.
            let live = row.name == self.me
                || row.is_live(fleet.now)
                || (!may_judge && row.expires_at != 0);
            let swept = row.swept_db.map(|swept| ago(synced.at, fleet.now - swept));
            let vouched = before.and_then(|before| before.vouched);
            let lost = !live && fleet.now >= row.last_beat.saturating_add(row.lease_ms);
            rows.insert(row.name.clone(), Other { row: row.clone(), live, lost, swept, vouched });
        }
        self.rows = rows;
        self.now = fleet.now;
        self.read_at = Some(synced.at.up);
        let mut live: Vec<String> =
            self.rows.iter().filter(|(_, it)| it.live).map(|(name, _)| name.clone()).collect();
        if !live.contains(&self.me) {
            live.push(self.me.clone());
            live.sort();
        }
        let lost: Vec<String> =
            self.rows.iter().filter(|(_, it)| it.lost).map(|(name, _)| name.clone()).collect();
        let beats = self.own().is_some_and(|own| own.is_live(fleet.now));
        let changed = (&live, &lost, beats) != (&self.live, &self.lost, self.beats);
        (self.live, self.lost, self.beats) = (live, lost, beats);
        changed
    }

    /// Did the database's clock go otherwise than ours since the last look?
    fn clock_jumped(&self, synced: &Synced) -> bool {
        let Some(read_at) = self.read_at else { return false };
        let ours = i64::try_from(synced.at.up.since(read_at).as_millis()).unwrap_or(i64::MAX);
        (synced.fleet.now - self.now - ours).abs() > CLOCK_JUMP_MS
    }

    /// The database failed: nobody can be judged by its word for a while.
    pub(super) const fn trouble(&mut self) {
        self.patience.trouble();
    }

    /// Who answers for a node.
    pub(super) fn standing(&self, placement: Placement<'_>, owner: Option<&str>) -> Standing {
        if self.sole {
            return Standing::Mine;
        }
        let Some(owner) = placement.answers(owner) else { return Standing::Released };
        if owner == self.me {
            return Standing::Mine;
        }
        let other = self.rows.get(owner);
        // What every instance can reach is taken over before long; till then its verdict grows old by itself.
        if placement == Placement::Any || other.is_some_and(|other| !other.lost) {
            let window = other.map_or(0, |other| other.row.window_ms);
            let window = Duration::from_millis(u64::try_from(window).unwrap_or(0));
            Standing::Of { owner: owner.to_owned(), window }
        } else {
            Standing::Lost { owner: owner.to_owned() }
        }
    }

    /// When an instance last looked at all its nodes, on our boot clock.
    pub(super) fn swept(&self, owner: &str) -> Option<Uptime> {
        self.rows.get(owner).and_then(|other| other.swept)
    }

    /// The row of this instance, as it stood when it was read.
    pub(super) fn own(&self) -> Option<&InstanceRow> {
        self.rows.get(&self.me).map(|other| &other.row)
    }

    /// Those others whose word is to be taken over into their nodes' views now, if there are any.
    pub(super) fn vouchers(&mut self) -> Option<BTreeMap<String, Uptime>> {
        let mut due = BTreeMap::new();
        for (name, other) in self.rows.iter_mut().filter(|(name, _)| **name != self.me) {
            let window = Duration::from_millis(u64::try_from(other.row.window_ms).unwrap_or(0));
            let Some(swept) = other.swept else { continue };
            if other.vouched.is_none_or(|before| swept.since(before) > window / VOUCH_SHARE) {
                other.vouched = Some(swept);
                due.insert(name.clone(), swept);
            }
        }
        (!due.is_empty()).then_some(due)
    }

    /// The nodes that are to be taken over now: id and epoch. None before our own heartbeat holds: to the others we are gone,
    /// and they would take them back.
    pub(super) fn claims(&self, entries: &BTreeMap<i64, Entry>) -> Vec<(i64, i64)> {
        if self.sole || !self.beats {
            return Vec::new();
        }
        let shares: Vec<Share<'_>> = entries
            .values()
            .map(|entry| Share {
                id: entry.view.node.id,
                placement: Placement::of(&entry.view.node),
                owner: entry.owner.as_deref(),
                available: entry.view.node.available,
            })
            .collect();
        let live: Vec<&str> = self.live.iter().map(String::as_str).collect();
        to_claim(&self.me, &live, &shares)
            .into_iter()
            .filter_map(|id| entries.get(&id).map(|entry| (id, entry.owner_epoch)))
            .collect()
    }

    /// Is it on us to record what the lost can no longer say? One is enough; if two think so, the compare-and-set of the
    /// second changes nothing.
    pub(super) fn speaks_for_the_lost(&self) -> bool {
        !self.sole && self.live.first() == Some(&self.me)
    }

    /// Is it on us to say what one of the live ones has to?
    pub(super) fn speaks(&self) -> bool {
        self.sole || self.speaks_for_the_lost()
    }

    /// Instances whose loss, or whose return, is to be told.
    pub(super) fn news(&self) -> Vec<store::Standing> {
        let told = |other: &Other| other.row.alerted.is_some();
        let all = self
            .rows
            .iter()
            .filter(|(_, it)| !self.sole && ((it.lost && !told(it)) || (it.live && told(it))));
        all.map(|(name, it)| store::Standing { name: name.clone(), lost: it.lost }).collect()
    }

    /// An instance that has been lost for `after`.
    pub(super) fn forgettable(&self, after: Duration) -> Option<&str> {
        if !self.speaks_for_the_lost() {
            return None;
        }
        let gone = self.rows.values().filter(|other| !other.live).map(|other| &other.row);
        let mut old =
            gone.filter(|row| Timestamp(self.now).since(Timestamp(row.last_beat)) >= after);
        old.next().map(|row| row.name.as_str())
    }

    /// As readers see it.
    pub(super) fn part(&self) -> FleetPart {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let view = |other: &Other| InstanceView {
            name: other.row.name.clone(),
            live: other.live,
            version: other.row.version.clone(),
            since: Timestamp(other.row.since),
            last_beat: Timestamp(other.row.last_beat),
            nodes: count(other.row.nodes),
            locks: count(other.row.locks),
            tick_ms: count(other.row.tick_ms),
            seq: other.row.seq,
        };
        FleetPart {
            here: self.me.clone(),
            sole: self.sole,
            instances: self.rows.values().map(view).collect(),
        }
    }
}

/// The last number of each instance.
pub(super) fn cursors(fleet: &Fleet) -> BTreeMap<String, i64> {
    fleet.instances.iter().map(|row| (row.name.clone(), row.seq)).collect()
}

/// A time of the database's clock on our boot clock.
fn ago(at: Now, ms: i64) -> Uptime {
    at.up.minus(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}
