//! What a node's process does while its answer is overdue. A check that is answered in the first half of its time never
//! gets here.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::pid;
use super::rpc::Ways;
use crate::domain::observation::Silence;
use crate::domain::{Identity, Node};
use crate::process::{Effort, Processes};

/// Watched for less than this, nothing is said: CPU times come in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(100);

/// A timer that fires so much too late says that we stood still: stopped, asleep with the machine, or without a turn of the
/// processor. The node was given no time of ours then, and gets it anew.
const LATE: Duration = Duration::from_secs(1);

/// How often that is done for one exchange.
const MOST_TIMES: u32 = 3;

/// Looks at the process of a node that lets us wait.
pub struct Watch<'a> {
    /// The node.
    pub node: &'a Node,
    /// How it is reached.
    pub ways: &'a Ways,
    /// Where its process is looked for.
    pub processes: &'a Processes,
}

/// The process when half of the time was over.
struct Begun {
    identity: Identity,
    effort: Effort,
    at: Instant,
}

impl Watch<'_> {
    /// Waits for an exchange from `began` until `end`. If it is not over by then, what the process did in the second half of
    /// that time.
    ///
    /// # Errors
    /// The time is over.
    pub async fn until<F: Future>(
        &self,
        began: Instant,
        end: Instant,
        mut exchange: Pin<&mut F>,
    ) -> Result<F::Output, Option<Silence>> {
        let limit = end.saturating_duration_since(began);
        let half = began + limit / 2;
        if let Ok(done) = timeout_at(half, exchange.as_mut()).await {
            return Ok(done);
        }
        let mut end = if is_late(half) { Instant::now() + limit } else { end };
        let mut silence = None;
        for _ in 0..MOST_TIMES {
            // Apart, so that what most checks hold is small.
            let begin = Box::pin(self.begin());
            let (done, begun) = tokio::join!(timeout_at(end, exchange.as_mut()), begin);
            if let Ok(done) = done {
                return Ok(done);
            }
            silence = begun.and_then(|begun| self.silence(&begun));
            if !is_late(end) {
                break;
            }
            end = Instant::now() + limit;
        }
        Err(silence)
    }

    async fn begin(&self) -> Option<Begun> {
        let Ways { limits, names, .. } = self.ways;
        let facts = pid::look(self.node, *limits, names, self.processes).await;
        let identity = facts.identity?;
        let effort = self.processes.effort(&identity)?;
        Some(Begun { identity, effort, at: Instant::now() })
    }

    fn silence(&self, begun: &Begun) -> Option<Silence> {
        let effort = self.processes.effort(&begun.identity)?;
        let watched = begun.at.elapsed();
        (watched >= SHORTEST).then(|| Silence {
            pid: begun.identity.pid,
            stopped: effort.stopped,
            runnable: effort.runnable || begun.effort.runnable,
            cpu: effort.cpu.saturating_sub(begun.effort.cpu),
            watched,
            spent: false,
        })
    }
}

fn is_late(end: Instant) -> bool {
    end.elapsed() > LATE
}
