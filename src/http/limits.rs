//! How much one client, and all together, may ask for.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AppState;
use super::access::Caller;
use super::error::Problem;
use crate::domain::access::admit;

/// Clients that are told apart, 128 KiB of them. More of them share a place, and a rate: what is kept is bounded whoever asks.
const PLACES: usize = 16 * 1024;

/// How many seconds' worth may come at once: a page that is opened asks for all its parts.
const BURST: u64 = 5;

/// Requests under way at once that look at processes or ask the database. A look takes up to the time of a node that does
/// not answer, so a tenth of it would be too few for a hundred open dashboards.
const WORKING: usize = 256;

const SECOND: u64 = 1_000_000;

/// What is kept of limits.
#[derive(Debug)]
pub struct Limits {
    rates: Option<Rates>,
    working: Arc<Semaphore>,
}

impl Limits {
    /// With so many requests a second of each client; zero: any number.
    pub fn new(rate: u32) -> Self {
        Self {
            rates: (rate > 0).then(|| Rates::new(u64::from(rate))),
            working: Arc::new(Semaphore::new(WORKING)),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 if its client asks too often.
    pub fn count(&self, caller: &Caller, headers: &HeaderMap) -> Result<(), Problem> {
        match &self.rates {
            Some(rates) if caller.is_counted(headers) => {
                rates.count(caller.client).map_err(|wait| rate_limited(&rates.told(), wait))
            }
            _ => Ok(()),
        }
    }
}

/// One number for each place: when the next request is due, in microseconds since `start`.
#[derive(Debug)]
struct Rates {
    rate: u64,
    due: Box<[AtomicU64]>,
    /// Keyed at random, so that nobody can choose whom to share a place with.
    hasher: RandomState,
    start: Instant,
}

impl Rates {
    fn new(rate: u64) -> Self {
        let due = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { rate, due, hasher: RandomState::new(), start: Instant::now() }
    }

    /// Counts one, or says how long its client has to wait.
    fn count(&self, client: IpAddr) -> Result<(), Duration> {
        let place = usize::try_from(self.hasher.hash_one(client) % PLACES as u64).unwrap_or(0);
        let Some(due) = self.due.get(place) else { return Ok(()) };
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (interval, burst) = (SECOND / self.rate, self.rate * BURST);
        let mut seen = due.load(Ordering::Relaxed);
        loop {
            let next = admit(seen, now, interval, burst).map_err(Duration::from_micros)?;
            match due.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }

    fn told(&self) -> String {
        format!("more than {} requests a second (server.rate)", self.rate)
    }
}

fn rate_limited(detail: &str, wait: Duration) -> Problem {
    too_many("rate_limited", detail, wait.as_secs() + 1)
}

fn too_many(code: &'static str, detail: &str, seconds: u64) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
        .header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// A place among the requests that do work, given back when its handler is done.
#[derive(Debug)]
pub struct Work {
    _permit: OwnedSemaphorePermit,
}

impl Work {
    /// Takes a place.
    ///
    /// # Errors
    /// 429 if there is none.
    pub fn begin(state: &AppState) -> Result<Self, Problem> {
        let permit = Arc::clone(&state.0.limits.working).try_acquire_owned();
        permit.map(|permit| Self { _permit: permit }).map_err(|_| {
            let detail = format!("{WORKING} requests of this kind are under way already");
            too_many("too_many_requests", &detail, 1)
        })
    }
}

impl FromRequestParts<AppState> for Work {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Self::begin(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::http::testing::World;

    #[test]
    fn a_client_that_asks_too_often_is_told_to_wait_and_others_are_not() {
        let rates = Rates::new(1);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let taken = (0..20).filter(|_| rates.count(one).is_ok()).count();
        assert!((5..20).contains(&taken), "{taken}");
        let wait = rates.count(one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        // Unless both have one place, which happens once in 16384 runs; then the next address will do.
        let next = IpAddr::from([192, 0, 2, 3]);
        assert!(rates.count(other).is_ok() || rates.count(next).is_ok());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let rates = Rates::new(100);
        // Spread at random: as many that it would take a million runs for one place to stay empty.
        for client in 0..400_000_u32 {
            let _ = rates.count(IpAddr::from(client.to_be_bytes()));
        }
        assert_eq!(rates.due.len(), PLACES);
        assert!(rates.due.iter().all(|due| due.load(Ordering::Relaxed) > 0), "all are used");
    }

    #[tokio::test]
    async fn work_has_places_that_are_given_back() {
        let world = World::new(Settings::default()).await;
        world.publish(vec![]);
        let held: Vec<_> = (0..WORKING).map(|_| Work::begin(&world.state).unwrap()).collect();
        for path in ["/nodes/1/status", "/nodes/1/history", "/nodes/status?method=pid"] {
            let refused = world.get(path).await;
            assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
            assert_eq!(refused.code(), "too_many_requests", "{path}");
        }
        for path in ["/health", "/nodes/status", "/nodes", "/migrations"] {
            assert_eq!(world.get(path).await.status, 200, "{path} needs no place");
        }
        drop(held);
        assert_eq!(world.get("/nodes/1/status").await.code(), "not_found");
    }
}
