//! The reconciler's work with the store: one job at a time, beside the loop, so that a database that hangs holds up no
//! check and no reader.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::{JoinError, JoinHandle};

use crate::clock;
use crate::domain::Now;
use crate::store::{Beat, Fleet, Lease, Store, StoreError, StoredNode, VerdictWrite};

/// More stale rows than this are read all at once.
const ONE_BY_ONE: usize = 20;

/// What is asked of the store.
#[derive(Debug)]
pub(super) enum Job {
    /// Write the heartbeat if one is given, and read what changed since.
    Sync { beat: Option<Beat>, known: Known },
    /// Record verdicts.
    Record(Vec<VerdictWrite>),
    /// Take nodes over: id and the epoch of the owner.
    Claim(Vec<(i64, i64)>),
    /// Forget an instance that is lost for that long.
    Forget(String, std::time::Duration),
}

impl Job {
    fn writes(&self) -> BTreeSet<i64> {
        match self {
            Self::Record(writes) => writes.iter().map(|it| it.id).collect(),
            Self::Claim(nodes) => nodes.iter().map(|(id, _)| *id).collect(),
            Self::Sync { .. } | Self::Forget(..) => BTreeSet::new(),
        }
    }
}

/// What is known already.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The registry's revision.
    pub(super) revision: Option<i64>,
    /// Read the whole registry, whatever its revision.
    pub(super) reload: bool,
    /// The last number seen of each instance.
    pub(super) cursors: BTreeMap<String, i64>,
    /// Rows that somebody else wrote.
    pub(super) stale: BTreeSet<i64>,
}

/// How it ended.
pub(super) type Outcome = Result<Done, StoreError>;

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Synced(Box<Synced>),
    Recorded { sent: Vec<VerdictWrite>, left: BTreeSet<i64> },
    Claimed { asked: Vec<(i64, i64)>, taken: BTreeSet<i64> },
    Forgotten,
}

/// What the database says.
#[derive(Debug)]
pub(super) struct Synced {
    pub(super) fleet: Fleet,
    /// When it said so.
    pub(super) at: Now,
    /// A heartbeat got through with it.
    pub(super) beaten: bool,
    pub(super) nodes: Rows,
}

/// Rows of nodes.
#[derive(Debug)]
pub(super) enum Rows {
    /// Every one there is.
    All(Vec<StoredNode>),
    /// Those that changed, and the ids that are gone.
    Changed(Vec<StoredNode>, Vec<i64>),
}

/// The place of the one job.
#[derive(Debug, Default)]
pub(super) struct Io {
    job: Option<JoinHandle<Outcome>>,
    /// The rows that the last job was to write.
    writes: BTreeSet<i64>,
}

impl Io {
    pub(super) const fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    pub(super) fn start(&mut self, store: &Store, lease: &Lease, job: Job) {
        self.writes = job.writes();
        let (store, lease) = (store.clone(), lease.clone());
        self.job = Some(tokio::spawn(async move { run(&store, &lease, job).await }));
    }

    /// The rows of which it is not known whether the job that failed has written them: its commit may stand although the
    /// answer was lost.
    pub(super) fn in_doubt(&mut self) -> BTreeSet<i64> {
        std::mem::take(&mut self.writes)
    }

    /// What came of the job; never, while there is none. Nothing is lost if it is not waited for to the end.
    pub(super) async fn join(&mut self) -> Result<Outcome, JoinError> {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let done = job.await;
        self.job = None;
        done
    }
}

async fn run(store: &Store, lease: &Lease, job: Job) -> Result<Done, StoreError> {
    Ok(match job {
        Job::Sync { beat, known } => {
            Done::Synced(Box::new(sync(store, lease, beat, &known).await?))
        }
        Job::Record(sent) => {
            let left = store.record_verdicts(lease, &sent, clock::now().wall).await?;
            Done::Recorded { sent, left }
        }
        Job::Claim(asked) => {
            let taken = store.claim(lease, &asked).await?;
            Done::Claimed { asked, taken }
        }
        Job::Forget(name, after) => {
            store.forget(&name, None, after).await?;
            Done::Forgotten
        }
    })
}

async fn sync(
    store: &Store,
    lease: &Lease,
    beat: Option<Beat>,
    known: &Known,
) -> Result<Synced, StoreError> {
    let beaten = beat.is_some();
    if let Some(beat) = beat {
        store.beat(lease, &beat).await?;
    }
    // Before the rows: what is written in between is read again, not missed.
    let fleet = store.fleet().await?;
    let at = clock::now();
    let same = known.revision == Some(fleet.revision) && !known.reload;
    let nodes = if same && known.stale.len() <= ONE_BY_ONE {
        changed(store, lease, known, &fleet).await?
    } else {
        Rows::All(store.nodes().await?)
    };
    Ok(Synced { fleet, at, beaten, nodes })
}

async fn changed(
    store: &Store,
    lease: &Lease,
    known: &Known,
    fleet: &Fleet,
) -> Result<Rows, StoreError> {
    let (mut rows, mut gone) = (Vec::new(), Vec::new());
    for other in fleet.instances.iter().filter(|other| other.name != lease.name) {
        let seen = known.cursors.get(&other.name).copied().unwrap_or(0);
        if other.seq > seen {
            rows.extend(store.nodes_changed(&other.name, seen).await?);
        }
    }
    for id in &known.stale {
        match store.node(Some(*id), "").await? {
            Some(row) => rows.push(row),
            None => gone.push(*id),
        }
    }
    Ok(Rows::Changed(rows, gone))
}
