//! What is made of a snapshot and held for its generation; lists of many rows are made from the last one.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use axum::http::StatusCode;
use bytes::Bytes;

use super::bodies::Prepared;
use super::error::Problem;
use crate::domain::Uptime;

/// From this many rows on a list is not made on a thread that serves others, who would wait for it.
const MANY: usize = 2000;

/// What holds for one generation of the snapshot, and until a moment after which it would read otherwise.
#[derive(Debug)]
struct Held<T> {
    generation: u64,
    until: Uptime,
    value: Arc<T>,
}

/// The last value made; made anew by whoever comes first after it no longer holds.
#[derive(Debug)]
pub struct Cache<T> {
    current: ArcSwapOption<Held<T>>,
    making: Mutex<()>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { current: ArcSwapOption::empty(), making: Mutex::default() }
    }
}

impl<T> Cache<T> {
    /// What holds at `now` for this generation; `make` gives it with the last moment at which it does.
    pub fn get(&self, generation: u64, now: Uptime, make: impl FnOnce() -> (T, Uptime)) -> Arc<T> {
        if let Some(value) = self.held(generation, now) {
            return value;
        }
        // A poisoned lock guards no data: whoever died there left the old value in place.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.held(generation, now) {
            return value;
        }
        let (value, until) = make();
        self.keep(generation, until, value)
    }

    /// The same if it was made already.
    pub fn held(&self, generation: u64, now: Uptime) -> Option<Arc<T>> {
        let held = self.current.load();
        let held = held.as_ref()?;
        (held.generation == generation && now <= held.until).then(|| Arc::clone(&held.value))
    }

    fn keep(&self, generation: u64, until: Uptime, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.current.store(Some(Arc::new(Held { generation, until, value: Arc::clone(&value) })));
        value
    }
}

/// A row of the last body: of which view it was made, what was told of it, and where it stands.
#[derive(Debug)]
struct Row<V, K> {
    order: i64,
    view: Arc<V>,
    told: K,
    place: Range<usize>,
}

/// The rows of the last body: one that would read the same is copied.
#[derive(Debug)]
pub struct Rows<V, K> {
    body: Bytes,
    rows: Vec<Row<V, K>>,
}

impl<V, K> Default for Rows<V, K> {
    fn default() -> Self {
        Self { body: Bytes::new(), rows: Vec::new() }
    }
}

impl<V, K: PartialEq> Rows<V, K> {
    /// A body of `before`, the rows with commas between them, and `after`. Rows come with what orders them, rising; `write`
    /// makes one of its view and of what is told of it, and of nothing else.
    pub fn write(
        &mut self,
        before: &str,
        rows: impl Iterator<Item = (i64, Arc<V>, K)>,
        after: &str,
        write: impl Fn(&V, &K, &mut Vec<u8>),
    ) -> Prepared {
        let mut out = Vec::with_capacity(self.body.len() + self.body.len() / 8 + 256);
        out.extend_from_slice(before.as_bytes());
        let mut made = Vec::with_capacity(rows.size_hint().0.max(self.rows.len()));
        let mut last = self.rows.iter().peekable();
        for (order, view, told) in rows {
            if !made.is_empty() {
                out.push(b',');
            }
            let start = out.len();
            while last.next_if(|row| row.order < order).is_some() {}
            let same = last.next_if(|row| row.order == order);
            match same.filter(|row| Arc::ptr_eq(&row.view, &view) && row.told == told) {
                Some(row) => out.extend_from_slice(&self.body[row.place.clone()]),
                None => write(&view, &told, &mut out),
            }
            made.push(Row { order, view, told, place: start..out.len() });
        }
        out.extend_from_slice(after.as_bytes());
        let body = Prepared::new(out);
        *self = Self { body: body.plain().clone(), rows: made };
        body
    }
}

/// A list: its body is made once per generation, from the last one, by one of all who wait for it.
#[derive(Debug)]
pub struct List<V, K> {
    cache: Arc<Cache<Prepared>>,
    rows: Arc<tokio::sync::Mutex<Rows<V, K>>>,
}

impl<V, K> Default for List<V, K> {
    fn default() -> Self {
        Self { cache: Arc::default(), rows: Arc::default() }
    }
}

impl<V: Send + Sync + 'static, K: Send + 'static> List<V, K> {
    /// The body that holds at `now` for this generation, if it was made already.
    pub fn held(&self, generation: u64, now: Uptime) -> Option<Arc<Prepared>> {
        self.cache.held(generation, now)
    }

    /// The same; `make` makes it of `count` rows, and gives the last moment at which it holds.
    ///
    /// # Errors
    /// 500 if `make` failed inside.
    pub async fn get(
        &self,
        generation: u64,
        now: Uptime,
        count: usize,
        make: impl FnOnce(&mut Rows<V, K>) -> (Prepared, Uptime) + Send + 'static,
    ) -> Result<Arc<Prepared>, Problem> {
        if let Some(body) = self.held(generation, now) {
            return Ok(body);
        }
        let mut rows = Arc::clone(&self.rows).lock_owned().await;
        if let Some(body) = self.held(generation, now) {
            return Ok(body);
        }
        let cache = Arc::clone(&self.cache);
        // It is finished and kept even if the one who asked leaves: the others wait for the rows.
        heavy(count, move || {
            let (body, until) = make(&mut rows);
            cache.keep(generation, until, body)
        })
        .await
    }
}

/// Does something with this many rows where it holds nobody up.
///
/// # Errors
/// 500 if it failed inside.
pub async fn heavy<T: Send + 'static>(
    rows: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if rows < MANY {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a list could not be made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the list could not be made")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_is_made_once_per_generation_and_again_when_its_time_is_over() {
        let cache = Cache::default();
        let mut made = 0;
        let mut get = |generation, now| {
            *cache.get(generation, Uptime(now), || {
                made += 1;
                (made, Uptime(10))
            })
        };
        assert_eq!([get(1, 0), get(1, 10), get(1, 11), get(2, 5), get(2, 6)], [1, 1, 2, 3, 3]);
    }

    type Fleet = std::collections::BTreeMap<i64, (Arc<u32>, bool)>;

    /// What may happen to a row between two bodies.
    fn change() -> impl Strategy<Value = (i64, u32, u8)> {
        (0..20_i64, any::<u32>(), 0..4_u8)
    }

    fn body(rows: &mut Rows<u32, bool>, fleet: &Fleet) -> Prepared {
        let views = fleet.iter().map(|(order, (view, told))| (*order, Arc::clone(view), *told));
        let before = format!("{}[", fleet.len());
        rows.write(&before, views, "]", |view, told, out| {
            out.extend_from_slice(format!("{view}:{told}").as_bytes());
        })
    }

    proptest! {
        /// A list that comes from the last one reads as one that is made from nothing.
        #[test]
        fn what_is_copied_reads_as_what_is_made(
            rounds in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..12),
        ) {
            let (mut fleet, mut rows) = (Fleet::new(), Rows::default());
            for changes in rounds {
                for (order, value, what) in changes {
                    match what {
                        0 => drop(fleet.remove(&order)),
                        1 => fleet.entry(order).and_modify(|it| it.1 = !it.1).or_default().1 ^= false,
                        _ => drop(fleet.insert(order, (Arc::new(value), value % 2 == 0))),
                    }
                }
                let (grown, fresh) = (body(&mut rows, &fleet), body(&mut Rows::default(), &fleet));
                prop_assert_eq!(grown.plain(), fresh.plain());
            }
        }
    }

    #[test]
    fn only_what_changed_is_written_anew() {
        let mut fleet: Fleet = (0..50).map(|n| (n, (Arc::new(1), true))).collect();
        let mut rows = Rows::default();
        let written = std::cell::Cell::new(0);
        let mut write = |fleet: &Fleet| {
            written.set(0);
            let views = fleet.iter().map(|(order, (view, told))| (*order, Arc::clone(view), *told));
            rows.write("[", views, "]", |_, _, out| {
                written.set(written.get() + 1);
                out.push(b'x');
            });
            written.get()
        };
        assert_eq!(write(&fleet), 50);
        assert_eq!(write(&fleet), 0);
        fleet.remove(&3);
        fleet.insert(60, (Arc::new(1), true));
        fleet.get_mut(&7).unwrap().1 = false;
        fleet.insert(9, (Arc::new(1), true));
        assert_eq!(write(&fleet), 3);
    }

    #[tokio::test]
    async fn many_who_wait_share_one_list_and_one_who_leaves_takes_nothing_along() {
        let list = Arc::new(List::<u32, bool>::default());
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let ask = || {
            let (list, made, wait) = (Arc::clone(&list), Arc::clone(&made), Arc::clone(&wait));
            tokio::spawn(async move {
                let make = move |rows: &mut Rows<u32, bool>| {
                    made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    let _ = wait.lock().unwrap().recv();
                    (rows.write("[", std::iter::empty(), "]", |_, _, _| {}), Uptime(10))
                };
                list.get(1, Uptime(1), MANY, make).await.unwrap().plain().clone()
            })
        };
        let first = ask();
        while made.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..5).map(|_| ask()).collect();
        first.abort();
        go.send(()).unwrap();
        for other in others {
            assert_eq!(other.await.unwrap(), "[]");
        }
        assert_eq!(made.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
