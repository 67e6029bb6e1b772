//! What is older than `history.retain` is removed, in small steps, by one of the instances.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::Timestamp;
use crate::snapshot::{FleetPart, Published};
use crate::store::Store;

/// Events that are removed at once: a transaction of some milliseconds.
const STEP: i64 = 200;

/// Between two steps, so that the others' writes come between.
const PAUSE: Duration = Duration::from_millis(500);

/// From the end of one round to the next, and from the start to the first.
const REST: Duration = Duration::from_mins(10);

/// Prunes until the token is cancelled. Only the first of the live instances does, so that one does.
pub async fn run(
    store: Store,
    published: Arc<Published>,
    retain: Duration,
    token: CancellationToken,
) {
    let kept = retain;
    let retain = i64::try_from(retain.as_millis()).unwrap_or(i64::MAX);
    let mut pause = REST;
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = REST;
        if !is_first(&published.load().fleet) {
            continue;
        }
        let before = Timestamp(clock::now().wall.0.saturating_sub(retain));
        match store.prune_events(before, STEP).await {
            Ok(true) => pause = PAUSE,
            Ok(false) => {}
            // What is wrong with the database is said by those that cannot do without it.
            Err(error) => tracing::debug!(error = error.chain(), "old events stay"),
        }
        match store.prune_outbox(kept, STEP).await {
            Ok(given_up) => {
                for (channel, alerts) in given_up {
                    tracing::warn!(channel, alerts, "alerts that could not be sent are given up");
                }
            }
            Err(error) => tracing::debug!(error = error.chain(), "old alerts stay"),
        }
    }
}

fn is_first(fleet: &FleetPart) -> bool {
    fleet.sole || (!fleet.here.is_empty() && fleet.live().first() == Some(&fleet.here))
}
