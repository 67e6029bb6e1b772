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
    names: Mutex<HashMap<Box<str>, Name>>,
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
        Self { resolver, names: Mutex::default() }
    }

    /// The addresses of a host; an address is its own, and nobody is asked.
    pub async fn resolve(&self, host: &str) -> Found {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([SocketAddr::new(address, 0)]));
        }
        let asking = match self.known_or_asking(host) {
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
            *name = Name::Known { found: found.clone(), until: Instant::now() + counts };
        }
        found
    }

    /// Nobody answered at these addresses: perhaps the name has others by now.
    pub fn doubt(&self, host: &str, tried: &Arc<[SocketAddr]>) {
        if let Some(Name::Known { found: Ok(found), until }) = self.names().get_mut(host)
            && Arc::ptr_eq(found, tried)
        {
            *until = (*until).min(Instant::now() + FAILED_FOR);
        }
    }

    fn known_or_asking(&self, host: &str) -> Result<Found, Asking> {
        let now = Instant::now();
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
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
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

    use super::*;

    /// Names whose resolver counts its calls and gives 127.0.0.n the n-th time, or fails.
    fn counted(fails: bool) -> (Names, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let names = Names::with(move |_| {
            let n = u8::try_from(count.fetch_add(1, Ordering::SeqCst) + 1).unwrap();
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if fails {
                    Err("no".into())
                } else {
                    Ok([SocketAddr::from(([127, 0, 0, n], 0))].into())
                }
            }
        });
        (names, calls)
    }

    fn last(found: &Found) -> u8 {
        match found.as_ref().unwrap()[0].ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => panic!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_once_for_all_until_its_time_is_over() {
        let (names, calls) = counted(false);
        let both = tokio::join!(names.resolve("a"), names.resolve("a"));
        assert_eq!((last(&both.0), last(&both.1)), (1, 1));
        tokio::time::advance(KNOWN_FOR - Duration::from_millis(1)).await;
        assert_eq!(last(&names.resolve("a").await), 1);
        assert_eq!(last(&names.resolve("b").await), 2, "another name is another question");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(last(&names.resolve("a").await), 3);
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_question_to_the_next() {
        let (names, calls) = counted(false);
        let short = Duration::from_millis(60);
        assert!(tokio::time::timeout(short, names.resolve("a")).await.is_err());
        assert_eq!(last(&tokio::time::timeout(short, names.resolve("a")).await.unwrap()), 1);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_asked_anew_after_two_seconds() {
        let (names, calls) = counted(true);
        for (wait, asked) in [(0, 1), (1999, 1), (1, 2)] {
            tokio::time::advance(Duration::from_millis(wait)).await;
            assert!(names.resolve("a").await.is_err());
            assert_eq!(calls.load(Ordering::SeqCst), asked, "{wait}");
        }
        let (names, calls) = counted(false);
        let found = names.resolve("a").await.unwrap();
        names.doubt("a", &found);
        assert_eq!(last(&names.resolve("a").await), 1, "nodes that fail together ask together");
        tokio::time::advance(FAILED_FOR).await;
        assert_eq!(last(&names.resolve("a").await), 2);
        names.doubt("a", &found);
        tokio::time::advance(FAILED_FOR).await;
        assert_eq!(last(&names.resolve("a").await), 2, "a doubt is about what was tried");
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_asks_nobody_and_names_out_of_use_are_let_go() {
        let (names, calls) = counted(false);
        for host in ["127.0.0.9", "::1"] {
            let found = names.resolve(host).await.unwrap();
            assert_eq!(*found, [SocketAddr::new(host.parse().unwrap(), 0)]);
        }
        assert_eq!((calls.load(Ordering::SeqCst), names.names().len()), (0, 0));
        for n in 0..200 {
            let _ = names.resolve(&format!("n{n}")).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(names.names().len() < 150, "{}", names.names().len());
    }
}
