//! While the database is waited for, or many rows are judged: processes that end meanwhile are looked at and told of, and
//! nothing is written.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use super::looks::LookAtSome;
use super::observe::Look;
use super::{Reconciler, ends, join};
use crate::clock;
use crate::domain::migration::Key;
use crate::domain::reconcile::evaluate;

/// Looks at processes that ended, while something else is under way.
#[derive(Debug, Default)]
pub(super) struct Aside {
    looking: Option<LookAtSome>,
    /// What had ended before was thought of.
    began: bool,
    /// What is or was looked at.
    keys: BTreeSet<Key>,
}

impl Aside {
    /// Is or was this looked at?
    pub(super) fn has(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }
}

impl Reconciler {
    /// Awaits `work`, which has nothing to do with us, and tells of deaths in between. They are looked at again, judged
    /// and written when it is over.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut aside = Aside::default();
        loop {
            tokio::select! {
                biased;
                done = work.as_mut() => return done,
                () = self.aside(&mut aside) => {}
            }
        }
    }

    /// Lets others on this thread have their turn in a work that is long, and tells of deaths so far in the same way.
    pub(super) async fn breathe(&mut self, aside: &mut Aside) {
        tokio::select! {
            biased;
            () = self.aside(aside) => {}
            () = tokio::task::yield_now() => {}
        }
    }

    /// A step: a look at what ended begins, or what it brought is told. Nothing is lost where it is dropped in between.
    async fn aside(&mut self, aside: &mut Aside) {
        let wants = self.adoption.is_none() && self.parts.events.has_listeners();
        let may_begin = wants && aside.looking.is_none();
        if may_begin && !aside.began {
            // What ended before this was under way waits for its end otherwise.
            aside.began = true;
            let waiting: BTreeSet<Key> = self.hints.ended().cloned().collect();
            if !waiting.is_empty() {
                return self.look_aside(aside, waiting);
            }
        }
        let exits = self.scout.watched.exits().filter(|_| may_begin);
        tokio::select! {
            tokens = ends(exits) => {
                let keys = self.scout.watched.keys_of(&tokens);
                self.hints.later_all(&keys, Duration::ZERO);
                self.look_aside(aside, keys);
            }
            looked = join(aside.looking.as_mut()) => {
                aside.looking = None;
                if let Ok(Ok(look)) = looked {
                    self.tell_of(look);
                }
            }
        }
    }

    fn look_aside(&self, aside: &mut Aside, keys: BTreeSet<Key>) {
        aside.keys.extend(keys.iter().cloned());
        aside.looking = self.look_at_these(keys, BTreeSet::new());
    }

    fn tell_of(&mut self, look: Look) {
        let now = clock::now();
        for seen in look.seen {
            if self.is_basis(&seen) {
                let memory = self.memory.get(&seen.key).cloned().unwrap_or_default();
                let decision =
                    evaluate(&seen.key, seen.row(), &seen.sight, &memory, &look.rules, now);
                self.tell_observed(&seen, &decision, now);
            }
        }
    }
}
