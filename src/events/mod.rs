//! What is told to whoever listens: what was seen, at once; what turned, once it is on record. And whether the kernel
//! tells us of processes and locks, or everything is found by looking.
//!
//! Events are hints for the reconcilers and news for the listeners: nothing is judged by them, and with all of them
//! dropped everything is still right within one interval.

pub mod cursor;
pub mod flips;
pub mod missed;

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, broadcast, watch};

use crate::domain::Timestamp;

/// News that a listener may be behind before it is dropped: ten thousand deaths at once are still told. Room for them takes
/// 640 KiB, so it is made for the first one who listens.
const BEHIND: usize = 16_384;

/// Whom an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A node.
    Node {
        /// Its id.
        id: i64,
        /// Its name.
        name: String,
    },
    /// A migration.
    Migration {
        /// `brz_project_id`.
        id: i64,
        /// `mb_project_uuid`.
        mb_project_uuid: String,
    },
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Whom it is about.
    pub subject: Subject,
    /// The state after it.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was seen, or committed.
    pub at: Timestamp,
    /// Where it is on record. None: seen, not committed.
    pub committed: Option<Committed>,
}

/// Where an event is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The instance that wrote it.
    pub instance: String,
    /// Its number among those of the instance.
    pub seq: i64,
    /// Where one stands who was told it; see [`cursor::Cursor`].
    pub place: String,
}

/// News on their way to the listeners: what they read is made once for all of them.
#[derive(Debug)]
pub struct Item {
    news: News,
    text: OnceLock<Bytes>,
}

impl Item {
    /// The news as listeners read it; `make` is asked once.
    pub fn text(&self, make: impl FnOnce(&News) -> Bytes) -> Bytes {
        self.text.get_or_init(|| make(&self.news)).clone()
    }
}

impl Deref for Item {
    type Target = News;

    fn deref(&self) -> &News {
        &self.news
    }
}

/// What the kernel can tell us of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The ends of migrations' processes (pidfd).
    Processes,
    /// Changes of the lock directory (inotify).
    Locks,
    /// The ends of nodes' processes (pidfd).
    NodeProcesses,
}

impl Source {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Processes, Self::Locks, Self::NodeProcesses];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Locks => "locks",
            Self::NodeProcesses => "node processes",
        }
    }

    /// The same without a space, for labels.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NodeProcesses => "node_processes",
            Self::Processes | Self::Locks => self.as_str(),
        }
    }
}

/// Whether it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Watch {
    /// Not asked for: switched off, or nothing to watch.
    #[default]
    Off,
    /// It does.
    On,
    /// It does not, or not of all, and this is why; then it is found by looking, at each interval.
    Polling(String),
}

/// Where events are told; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Made for the first listener.
    news: OnceLock<broadcast::Sender<Arc<Item>>>,
    committed: Notify,
    /// Whether what is committed from now on is told: false until [`flips::follow`] knows where to begin.
    following: watch::Sender<bool>,
    listening: Mutex<()>,
    watches: Mutex<[Watch; Source::ALL.len()]>,
}

impl Default for Hub {
    fn default() -> Self {
        let inner = Inner {
            news: OnceLock::new(),
            committed: Notify::new(),
            following: watch::Sender::new(false),
            listening: Mutex::default(),
            watches: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Hub {
    /// Does anybody listen? What is only made to be told need not be made otherwise.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.inner.news.get().is_some_and(|news| news.receiver_count() > 0)
    }

    /// Tells all listeners.
    pub fn tell(&self, news: News) {
        if let Some(listeners) = self.inner.news.get() {
            // Nobody may listen any more.
            let _ = listeners.send(Arc::new(Item { news, text: OnceLock::new() }));
        }
    }

    /// Listens from now on. One that is too far behind is told so by its receiver.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Item>> {
        // Two first ones at once would be two beginnings, and what is told between is lost for one.
        let _one = self.inner.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_listeners() {
            // What was followed for the last of the former listeners may be long ago.
            self.inner.following.send_replace(false);
        }
        let news = self.inner.news.get_or_init(|| broadcast::Sender::new(BEHIND));
        let listener = news.subscribe();
        self.commit();
        listener
    }

    /// Until what is committed from now on is told to the listeners that there are.
    pub async fn followed(&self) {
        // The sender lives as long as this.
        let _ = self.inner.following.subscribe().wait_for(|following| *following).await;
    }

    /// Events were committed, here or by another instance: whoever listens is to be told of them.
    pub fn commit(&self) {
        self.inner.committed.notify_one();
    }

    /// Until events were committed since the last call. For one task.
    pub async fn commits(&self) {
        self.inner.committed.notified().await;
    }

    /// Notes whether the kernel tells us of these.
    pub fn set_watch(&self, source: Source, watch: Watch) {
        let mut watches = self.inner.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut watches[source as usize];
        if *held != watch {
            match (&*held, &watch) {
                // How many are concerned moves with each process; readiness has the number of the moment.
                (Watch::Polling(_), Watch::Polling(why)) => {
                    tracing::debug!(
                        ?source,
                        why,
                        "the kernel does not tell of all; found by looking"
                    );
                }
                (_, Watch::Polling(why)) => {
                    tracing::warn!(
                        ?source,
                        why,
                        "the kernel does not tell of all; found by looking"
                    );
                }
                _ => tracing::debug!(?source, ?watch, "events of the kernel"),
            }
            *held = watch;
        }
    }

    /// Whether it does.
    #[must_use]
    pub fn watch(&self, source: Source) -> Watch {
        let watches = self.inner.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches[source as usize].clone()
    }
}
