//! Which migrations are worth a look before the next scan of everything: told by the kernel, or due by their own
//! judgement. Nothing depends on them but how soon it is known.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::migration::Key;

/// Looks at some may take this share of the time: a runner that writes its lock without end costs no more.
const SHARE: u32 = 3;

/// Longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What was hinted at since the last look.
#[derive(Debug, Default)]
pub(super) struct Hints {
    keys: BTreeSet<Key>,
    names: BTreeSet<String>,
    later: BTreeSet<(Instant, Key)>,
    /// The time of each that stands in `later`: one at most.
    times: HashMap<Key, Instant>,
    rests_until: Option<Instant>,
}

impl Hints {
    /// Look at all of these then.
    pub(super) fn later_all(&mut self, keys: &BTreeSet<Key>, after: Duration) {
        let at = Instant::now() + after;
        for key in keys {
            self.later(key.clone(), at);
        }
    }

    /// Their processes ended: look at these now.
    pub(super) fn keys(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.keys.extend(keys);
    }

    /// Look at the files of these names now.
    pub(super) fn names(&mut self, names: BTreeSet<String>) {
        self.names.extend(names);
    }

    /// Look at it then, if not sooner.
    pub(super) fn later(&mut self, key: Key, at: Instant) {
        if let Some(before) = self.times.get(&key) {
            if *before <= at {
                return;
            }
            self.later.remove(&(*before, key.clone()));
        }
        self.times.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    /// It need not be looked at by itself any more.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(at) = self.times.remove(key) {
            self.later.remove(&(at, key.clone()));
        }
    }

    /// When a look is due; none while there is nothing to look at. A process ends once, so what is said of that never
    /// waits; files are written without end.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let names =
            (!self.names.is_empty()).then(|| self.rests_until.map_or(now, |it| it.max(now)));
        let keys = (!self.keys.is_empty()).then_some(now);
        let later = self.later.first().map(|(at, _)| *at);
        keys.into_iter().chain(names).chain(later).min()
    }

    /// Those whose processes ended.
    pub(super) fn ended(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// How many there are.
    pub(super) fn waiting(&self) -> usize {
        self.keys.len() + self.names.len() + self.later.len()
    }

    /// All that is due, taken out.
    pub(super) fn take(&mut self, now: Instant) -> (BTreeSet<Key>, BTreeSet<String>) {
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            let Some((_, key)) = self.later.pop_first() else { break };
            self.times.remove(&key);
            self.keys.insert(key);
        }
        let rests = self.rests_until.is_some_and(|until| until > now);
        let names = if rests { BTreeSet::new() } else { std::mem::take(&mut self.names) };
        (std::mem::take(&mut self.keys), names)
    }

    /// A look at some has ended that took so long.
    pub(super) fn rest(&mut self, took: Duration, now: Instant) {
        self.rests_until = Some(now + (took * SHARE).min(LONGEST_PAUSE));
    }

    /// Everything is looked at now.
    pub(super) fn over(&mut self) {
        self.keys.clear();
        self.names.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: i64) -> Key {
        Key { mb_project_uuid: "u".to_owned(), brz_project_id: id }
    }

    #[test]
    fn what_is_due_later_comes_in_its_time_and_after_the_rest() {
        let (mut hints, now) = (Hints::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(hints.due(), None);
        hints.later(key(2), after(50));
        hints.later(key(1), after(90));
        hints.later(key(1), after(20));
        hints.later(key(1), after(70));
        assert_eq!(hints.later.len(), 2, "the soonest of each");
        assert_eq!(hints.due(), Some(after(20)));
        assert_eq!(hints.take(after(19)).0, BTreeSet::new());
        assert_eq!(hints.take(after(20)).0, BTreeSet::from([key(1)]));
        assert_eq!(hints.due(), Some(after(50)));
        hints.names(BTreeSet::from(["x.lock".to_owned()]));
        hints.rest(Duration::from_mins(1), Instant::now());
        let bounded = Instant::now() + LONGEST_PAUSE;
        hints.forget(&key(2));
        assert!(hints.due().is_some_and(|due| due > now && due <= bounded), "the pause is bounded");
        hints.keys([key(7)]);
        assert!(hints.due().is_some_and(|due| due < bounded), "an end does not wait");
        let (keys, names) = hints.take(Instant::now());
        assert_eq!((keys.len(), names.len()), (1, 0));
        let (keys, names) = hints.take(bounded);
        assert_eq!((keys.len(), names.len()), (0, 1));
        assert_eq!(hints.due(), None);
    }
}
