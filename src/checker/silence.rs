//! What a node's process does while its answer is overdue. A check that is answered in the first half of its time never
//! gets here.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::pid;
use super::ways::Ways;
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
            let mut begun = None;
            // Apart, so that what most checks hold is small.
            let beginning = Box::pin(async {
                begun = self.begin().await;
                pending::<Infallible>().await
            });
            let waiting = async { (timeout_at(end, exchange.as_mut()).await, is_late(end)) };
            // A look that hangs is no reason to wait longer for the node.
            let (done, late) = tokio::select! {
                waited = waiting => waited,
                never = beginning => match never {},
            };
            if let Ok(done) = done {
                return Ok(done);
            }
            silence = begun.and_then(|begun| self.silence(&begun));
            if !late {
                break;
            }
            end = Instant::now() + limit;
        }
        Err(silence)
    }

    async fn begin(&self) -> Option<Begun> {
        // Not the process that was the node when it was asked first.
        let node = Node { identity: None, ..self.node.clone() };
        let facts = pid::look(&node, self.ways, self.processes).await;
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;

    use super::*;
    use crate::checker::Limits;
    use crate::checker::patience::Subject;
    use crate::checker::tests::{LIMITS, node, ways};

    /// An exchange of so long at most with a node at whose process a look hangs. Whoever waits for the look waits for a minute,
    /// so this does not end in time.
    async fn beside_a_look_that_hangs(
        within: Duration,
        exchange: impl Future<Output = u8>,
    ) -> Result<u8, Option<Silence>> {
        let minute = Duration::from_secs(60);
        let ways = ways(Limits { api_timeout: minute, ..LIMITS });
        let (end_it, hangs) = mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (node, patience) = (node(1), ways.patience.clone());
        let (id, subject) = (node.id, Subject::Process(node.pid, node.pid_file.clone()));
        let look = tokio::spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                let _ = hangs.recv();
            };
            patience.wait(id, subject, minute, work).await
        });
        begins.await.unwrap();
        let processes = Processes::new().unwrap();
        let watch = Watch { node: &node, ways: &ways, processes: &processes };
        let began = Instant::now();
        let end = began + within;
        let mut exchange = pin!(exchange);
        let waiting = watch.until(began, end, exchange.as_mut());
        let ended = timeout_at(began + minute / 2, waiting).await.expect("the look is waited for");
        drop(end_it);
        look.await.unwrap();
        ended
    }

    #[tokio::test]
    async fn a_look_that_hangs_gives_a_node_that_hangs_no_more_time() {
        let within = Duration::from_millis(400);
        assert_eq!(beside_a_look_that_hangs(within, pending()).await, Err(None));
    }

    #[tokio::test]
    async fn a_look_that_hangs_keeps_no_answer_back() {
        // A little after half of the time, when it is looked for; the time itself is long.
        let answer = async {
            tokio::time::sleep(Duration::from_millis(2200)).await;
            7
        };
        let within = Duration::from_secs(4);
        assert_eq!(beside_a_look_that_hangs(within, answer).await, Ok(7));
    }
}
