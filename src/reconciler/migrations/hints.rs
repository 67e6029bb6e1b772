//! Which migrations are worth a look before the next scan of everything: told by the kernel, or due by their own
//! judgement. Nothing depends on them but how soon it is known.

use std::collections::BTreeSet;
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
    rests_until: Option<Instant>,
}

impl Hints {
    /// Look at these now.
    pub(super) fn keys(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.keys.extend(keys);
    }

    /// Look at the files of these names now.
    pub(super) fn names(&mut self, names: BTreeSet<String>) {
        self.names.extend(names);
    }

    /// Look at it then.
    pub(super) fn later(&mut self, key: Key, at: Instant) {
        self.later.insert((at, key));
    }

    /// When a look is due; none while there is nothing to look at.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = (!self.keys.is_empty() || !self.names.is_empty()).then(Instant::now);
        let due = now.or_else(|| self.later.first().map(|(at, _)| *at))?;
        Some(self.rests_until.map_or(due, |until| until.max(due)))
    }

    /// All that is due, taken out.
    pub(super) fn take(&mut self, now: Instant) -> (BTreeSet<Key>, BTreeSet<String>) {
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            self.keys.extend(self.later.pop_first().map(|(_, key)| key));
        }
        (std::mem::take(&mut self.keys), std::mem::take(&mut self.names))
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
        hints.later(key(1), after(20));
        assert_eq!(hints.due(), Some(after(20)));
        assert_eq!(hints.take(after(19)).0, BTreeSet::new());
        assert_eq!(hints.take(after(20)).0, BTreeSet::from([key(1)]));
        assert_eq!(hints.due(), Some(after(50)));
        hints.rest(Duration::from_millis(30), after(20));
        assert_eq!(hints.due(), Some(after(110)));
        hints.rest(Duration::from_secs(30), after(20));
        assert_eq!(hints.due(), Some(after(120)), "the pause is bounded");
        hints.rest(Duration::ZERO, after(20));
        hints.keys([key(7)]);
        hints.names(BTreeSet::from(["x.lock".to_owned()]));
        assert!(hints.due().is_some_and(|due| due < after(50) + Duration::from_mins(1)));
        let (keys, names) = hints.take(after(60));
        assert_eq!((keys.len(), names.len()), (2, 1));
        assert_eq!(hints.due(), None);
    }
}
