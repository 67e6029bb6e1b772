//! How others reach the migration reconciler: what they may ask, and what they are answered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use crate::domain::migration::{Lock, Status};
use crate::domain::reconcile::{Decision, Standing};
use crate::domain::report::Report;
use crate::locks::Removal;
use crate::process::ProcessDetails;
use crate::snapshot::MigrationView;

/// How long a caller waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Which migration is meant: `brz_project_id`, and the uuid where the id alone is ambiguous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `brz_project_id`.
    pub id: i64,
    /// `mb_project_uuid`.
    pub uuid: Option<String>,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No row and no lock of that id.
    #[error("no migration {0}")]
    NotFound(i64),
    /// Several uuids have that id.
    #[error("{id} is the id of several migrations: {}", .uuids.join(", "))]
    Ambiguous {
        /// The id.
        id: i64,
        /// Their uuids.
        uuids: Vec<String>,
    },
    /// The run has ended otherwise.
    #[error("the run has ended with status {0}")]
    AlreadyFinished(Status),
    /// The row is at another run.
    #[error("the migration is at run {0}")]
    RunMismatch(i64),
    /// There is no lock to remove.
    #[error("migration {0} has no lock")]
    NoLock(i64),
    /// The process lives, or it cannot be told whether it does.
    #[error("{0}")]
    ProcessAlive(String),
    /// Nothing of theirs is touched.
    #[error(
        "adopt.mode is not write: no lock is removed here; remove it where it was removed before"
    )]
    Shadow,
    /// The lock could not be removed.
    #[error("the lock was not removed: {0}")]
    NotRemoved(String),
    /// The lock directory cannot be read.
    #[error("the lock directory cannot be read: {0}")]
    Locks(String),
    /// The database failed; nothing was changed.
    #[error("the database failed: {0}")]
    Store(String),
    /// No lock directory is configured.
    #[error("no lock directory is given: --lock-dir, migrations.lock_dir or CACHE_PATH")]
    Off,
    /// The reconciler did not answer in time.
    #[error("the reconciler did not answer within {} s", ANSWER_WAIT.as_secs())]
    Timeout,
}

/// What a migration looks like now, and what the monitor would do about it.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The row and the lock's content, masked.
    pub view: MigrationView,
    /// The lock, if there is one.
    pub lock: Option<Lock>,
    /// The lock's content, masked.
    pub data: Option<Arc<Map<String, Value>>>,
    /// What its process is.
    pub standing: Standing,
    /// What the monitor makes of it.
    pub decision: Decision,
    /// The process, for people; `None` if it is not alive here.
    pub process: Option<ProcessDetails>,
}

/// What became of an operator's removal of a lock.
#[derive(Debug)]
pub struct Taken {
    /// The lock's name.
    pub file: String,
    /// What happened to it.
    pub removal: Removal,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// What the migration reconciler can be asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// Look again now.
    Wake,
    /// The runner's report.
    Report(Target, Report, Reply<MigrationView>),
    /// An operator removes a lock; with `true` although the process lives.
    Take(Target, bool, Reply<Taken>),
    /// What would be done.
    Inspect(Target, Reply<Box<Inspection>>),
}

/// Asks the migration reconciler for work; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::UnboundedSender<Request>,
}

impl Handle {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, inbox) = mpsc::unbounded_channel();
        (Self { requests }, inbox)
    }

    /// Every lock is looked at as soon as it can be.
    pub fn wake(&self) {
        // A reconciler that is gone ends the process; there is nobody left to tell.
        let _ = self.requests.send(Request::Wake);
    }

    /// Records a runner's report and gives the row as it is then.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn report(
        &self,
        target: Target,
        report: Report,
    ) -> Result<MigrationView, RequestError> {
        self.ask(|reply| Request::Report(target, report, reply)).await
    }

    /// Removes a lock for an operator.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn take_lock(&self, target: Target, force: bool) -> Result<Taken, RequestError> {
        self.ask(|reply| Request::Take(target, force, reply)).await
    }

    /// Looks at one migration without changing anything.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn inspect(&self, target: Target) -> Result<Box<Inspection>, RequestError> {
        self.ask(|reply| Request::Inspect(target, reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(request(reply)).is_err() {
            return Err(RequestError::Timeout);
        }
        match tokio::time::timeout(ANSWER_WAIT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
        }
    }
}
