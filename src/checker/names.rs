//! The addresses of host names, asked once for all nodes of a name and remembered for a while.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::net::lookup_host;
use tokio::time::Instant;

use super::allow::Allow;

/// How long addresses count. `getaddrinfo` tells no TTL; Java takes 30 s (`networkaddress.cache.ttl`), and so a node that
/// moved is found by the second check of the default interval.
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// How long it counts that a name has none, or that nobody answered at those it has.
const FAILED_FOR: Duration = Duration::from_secs(2);

/// So many names are held before the first look for those that nobody uses any more.
const SWEPT_FROM: usize = 64;

/// A name's addresses in the resolver's order, their ports 0 (link-local ones have a scope beside), or why there are none.
pub type Found = Result<Arc<[SocketAddr]>, Arc<str>>;

/// The resolver: the machine's own, but for tests.
type Resolver = dyn Fn(String) -> BoxFuture<'static, Found> + Send + Sync;

type Asking = Shared<BoxFuture<'static, Found>>;

enum Name {
    /// Held here, so that a resolver that hangs is not asked once more by every check that has given up on it.
    Asking(Asking),
    Known {
        found: Found,
        until: Instant,
    },
}

/// The names in use.
pub struct Names {
    resolver: Box<Resolver>,
    known: Mutex<HashMap<Box<str>, Name>>,
    /// Where they may lead.
    pub allow: Allow,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::with(|name| async move { look_up(&name).await })
    }
}

impl Names {
    /// Asks `resolver` instead of the machine's.
    pub fn with<F, R>(resolver: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Found> + Send + 'static,
    {
        let resolver = Box::new(move |name| resolver(name).boxed());
        Self { resolver, known: Mutex::default(), allow: Allow::default() }
    }

    /// The same, leading to these networks only.
    #[must_use]
    pub fn allowing(self, allow: Allow) -> Self {
        Self { allow, ..self }
    }

    /// The addresses of a host; an address is its own, and nobody is asked.
    pub async fn resolve(&self, host: &str) -> Found {
        self.resolve_by(Instant::now, host).await
    }

    async fn resolve_by(&self, clock: impl Fn() -> Instant, host: &str) -> Found {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([SocketAddr::new(address, 0)]));
        }
        let asking = match self.known_or_asking(clock(), host) {
            Ok(found) => return found,
            Err(asking) => asking,
        };
        let found = asking.clone().await;
        let mut names = self.names();
        // Of all who waited, the first one writes it down.
        if let Some(name) = names.get_mut(host)
            && matches!(name, Name::Asking(other) if other.ptr_eq(&asking))
        {
            let counts = if found.is_ok() { KNOWN_FOR } else { FAILED_FOR };
            *name = Name::Known { found: found.clone(), until: clock() + counts };
        }
        found
    }

    /// Nobody answered at these addresses: perhaps the name has others by now.
    pub fn doubt(&self, host: &str, tried: &Arc<[SocketAddr]>) {
        self.doubt_at(Instant::now(), host, tried);
    }

    fn doubt_at(&self, now: Instant, host: &str, tried: &Arc<[SocketAddr]>) {
        if let Some(Name::Known { found: Ok(found), until }) = self.names().get_mut(host)
            && Arc::ptr_eq(found, tried)
        {
            *until = (*until).min(now + FAILED_FOR);
        }
    }

    fn known_or_asking(&self, now: Instant, host: &str) -> Result<Found, Asking> {
        let mut names = self.names();
        match names.get(host) {
            Some(Name::Known { found, until }) if *until > now => return Ok(found.clone()),
            Some(Name::Asking(asking)) => return Err(asking.clone()),
            _ => {}
        }
        if names.len() >= SWEPT_FROM && names.len() == names.capacity() {
            names.retain(|_, name| match name {
                Name::Asking(_) => true,
                Name::Known { until, .. } => *until > now,
            });
        }
        let asking = (self.resolver)(host.to_owned()).shared();
        names.insert(host.into(), Name::Asking(asking.clone()));
        Err(asking)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Box<str>, Name>> {
        // Each entry is whole at every moment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(name: &str) -> Found {
    match lookup_host((name, 0)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(text_of(&error).into()),
    }
}

fn text_of(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Names with a clock that is set by hand, and a resolver that gives 127.0.0.n the n-th time, or fails.
    struct Bench {
        names: Names,
        calls: Arc<AtomicUsize>,
        /// The resolver answers once for each permit.
        gate: Arc<Semaphore>,
        now: Instant,
    }

    impl Bench {
        fn new(fails: bool) -> Self {
            let (calls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1000)));
            let (count, held) = (calls.clone(), gate.clone());
            let names = Names::with(move |_| {
                let n = u8::try_from(count.fetch_add(1, Ordering::SeqCst) + 1).unwrap();
                let gate = held.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    if fails {
                        Err("no".into())
                    } else {
                        Ok([SocketAddr::from(([127, 0, 0, n], 0))].into())
                    }
                }
            });
            Self { names, calls, gate, now: Instant::now() }
        }

        async fn found(&self, host: &str) -> Found {
            self.names.resolve_by(|| self.now, host).await
        }

        /// The last number of what was found.
        async fn last(&self, host: &str) -> u8 {
            match self.found(host).await.unwrap()[0].ip() {
                IpAddr::V4(address) => address.octets()[3],
                IpAddr::V6(_) => panic!(),
            }
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_name_is_asked_once_for_all_until_its_time_is_over() {
        let mut bench = Bench::new(false);
        assert_eq!(tokio::join!(bench.last("a"), bench.last("a")), (1, 1));
        bench.now += Duration::from_millis(29_999);
        assert_eq!(bench.last("a").await, 1);
        assert_eq!(bench.last("b").await, 2, "another name is another question");
        bench.now += Duration::from_millis(1);
        assert_eq!(bench.last("a").await, 3);
        assert_eq!(bench.calls(), 3);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_question_to_the_next() {
        let bench = Bench::new(false);
        bench.gate.forget_permits(1000);
        for _ in 0..3 {
            assert!(bench.found("a").now_or_never().is_none());
        }
        bench.gate.add_permits(1);
        assert_eq!(bench.last("a").await, 1);
        assert_eq!(bench.calls(), 1);
    }

    #[tokio::test]
    async fn what_failed_is_asked_anew_after_two_seconds() {
        let mut bench = Bench::new(true);
        for (wait, asked) in [(0, 1), (1999, 1), (1, 2)] {
            bench.now += Duration::from_millis(wait);
            assert!(bench.found("a").await.is_err());
            assert_eq!(bench.calls(), asked, "{wait}");
        }
    }

    #[tokio::test]
    async fn addresses_where_nobody_answers_are_asked_for_anew() {
        let mut bench = Bench::new(false);
        let tried = bench.found("a").await.unwrap();
        bench.names.doubt_at(bench.now, "a", &tried);
        assert_eq!(bench.last("a").await, 1, "nodes that fail together ask together");
        bench.now += FAILED_FOR;
        assert_eq!(bench.last("a").await, 2);
        bench.names.doubt_at(bench.now, "a", &tried);
        bench.now += FAILED_FOR;
        assert_eq!(bench.last("a").await, 2, "a doubt is about what was tried");
    }

    #[tokio::test]
    async fn an_address_asks_nobody_and_names_out_of_use_are_let_go() {
        let mut bench = Bench::new(false);
        for host in ["127.0.0.9", "::1"] {
            let found = bench.found(host).await.unwrap();
            assert_eq!(*found, [SocketAddr::new(host.parse().unwrap(), 0)]);
        }
        assert_eq!((bench.calls(), bench.names.names().len()), (0, 0));
        for n in 0..200 {
            assert!(bench.found(&format!("n{n}")).await.is_ok());
            bench.now += Duration::from_secs(1);
        }
        assert!(bench.names.names().len() < 150, "{}", bench.names.names().len());
    }
}
