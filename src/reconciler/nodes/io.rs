//! The reconciler's work with the store: one job at a time, beside the loop, so that a database that hangs holds up no
//! check and no reader.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::{JoinError, JoinHandle};

use crate::clock;
use crate::domain::Now;
use crate::failpoint;
use crate::store::{
    Beat, Fleet, Lease, NodeVersion, Standing, Store, StoreError, StoredNode, VerdictWrite,
};

/// What is asked of the store.
#[derive(Debug)]
pub(super) enum Job {
    /// Write the heartbeat if one is given, and read what changed since.
    Sync { beat: Option<Beat>, known: Known },
    /// Record verdicts.
    Record(Vec<VerdictWrite>),
    /// Take nodes over: id and the epoch of the owner.
    Claim(Vec<(i64, i64)>),
    /// Tell of what stands, and of instances that are lost or back.
    Tell(Vec<Standing>),
    /// Forget an instance that is lost for that long.
    Forget(String, std::time::Duration),
}

/// What is known already.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The registry's revision.
    pub(super) revision: Option<i64>,
    /// Read every row again: what is recorded is in doubt.
    pub(super) reload: bool,
    /// The last number seen of each instance.
    pub(super) cursors: BTreeMap<String, i64>,
    /// Rows that somebody else wrote, or that were not read yet.
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
    Told,
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
    /// Those that changed.
    Changed {
        rows: Vec<StoredNode>,
        /// The ids of those that are gone.
        gone: Vec<i64>,
        /// The registry is another one: what tells which rows to read, of every one there is.
        versions: Option<Vec<NodeVersion>>,
    },
}

/// The place of the one job.
#[derive(Debug, Default)]
pub(super) struct Io {
    job: Option<JoinHandle<Outcome>>,
}

impl Io {
    pub(super) const fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    pub(super) fn start(&mut self, store: &Store, lease: &Lease, job: Job) {
        let (store, lease) = (store.clone(), lease.clone());
        self.job = Some(tokio::spawn(async move { run(&store, &lease, job).await }));
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
            failpoint::at("before-record");
            let left = store.record_verdicts(lease, &sent, clock::now().wall).await?;
            failpoint::at("after-record");
            Done::Recorded { sent, left }
        }
        Job::Claim(asked) => {
            let taken = store.claim(lease, &asked).await?;
            failpoint::at("nodes-claimed");
            Done::Claimed { asked, taken }
        }
        Job::Tell(instances) => {
            store.tell_standing(lease, &instances, clock::now().wall).await?;
            Done::Told
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
        failpoint::at("before-beat");
        store.beat(lease, &beat).await?;
        failpoint::at("after-beat");
    }
    // Before the rows: what is written in between is read again, not missed.
    let fleet = store.fleet().await?;
    let at = clock::now();
    let seen = |name: &str| known.cursors.get(name).copied().unwrap_or(0);
    // Numbers that went back: it is another database, or one that lacks the last that was written.
    let went_back = fleet.instances.iter().any(|it| it.seq < seen(&it.name));
    let nodes = match known.revision.filter(|_| !known.reload && !went_back) {
        None => Rows::All(store.nodes().await?),
        Some(revision) => {
            let (rows, gone) = changed(store, lease, known, &fleet).await?;
            let versions =
                if revision == fleet.revision { None } else { Some(store.node_versions().await?) };
            Rows::Changed { rows, gone, versions }
        }
    };
    Ok(Synced { fleet, at, beaten, nodes })
}

async fn changed(
    store: &Store,
    lease: &Lease,
    known: &Known,
    fleet: &Fleet,
) -> Result<(Vec<StoredNode>, Vec<i64>), StoreError> {
    let mut rows = Vec::new();
    for other in fleet.instances.iter().filter(|other| other.name != lease.name) {
        let seen = known.cursors.get(&other.name).copied().unwrap_or(0);
        if other.seq > seen {
            rows.extend(store.nodes_changed(&other.name, seen).await?);
        }
    }
    let stale: Vec<i64> = known.stale.iter().copied().collect();
    let read = store.nodes_by_id(&stale).await?;
    let mut gone = known.stale.clone();
    for row in &read {
        gone.remove(&row.node.id);
    }
    rows.extend(read);
    Ok((rows, gone.into_iter().collect()))
}
