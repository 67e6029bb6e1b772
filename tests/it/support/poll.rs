//! Waiting for a condition with a deadline; the only place where tests sleep.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Looks every 20 ms until `look` gives `Ok`; panics with its last `Err` (what was seen instead) at the deadline.
pub async fn eventually<T, E, Fut>(deadline: Duration, mut look: impl FnMut() -> Fut) -> T
where
    E: Display,
    Fut: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if started.elapsed() >= deadline => {
                panic!("not within {deadline:?}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The same where nothing is awaited, for tests without a runtime.
pub fn eventually_sync<T, E: Display>(
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if started.elapsed() >= deadline => {
                panic!("not within {deadline:?}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
