//! Which events a listener wants.

use super::error::Problem;
use super::event_frames::{kind, subject};
use super::query::{Params, whole};
use crate::domain::migration::MAX_PROJECT_ID;
use crate::events::{News, Subject};

/// The kinds of events.
const KINDS: [&str; 2] = ["observed", "flip"];

/// What events are about.
const SUBJECTS: [&str; 2] = ["node", "migration"];

/// Longest name of a node, in characters.
const LONGEST_NAME: usize = 128;

/// What passes; nothing given: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    kinds: Vec<&'static str>,
    subjects: Vec<&'static str>,
    node: Option<String>,
    migration: Option<i64>,
}

impl Filter {
    /// `?kinds=`, `?subjects=`, `?node=`, `?migration=`.
    ///
    /// # Errors
    /// 400, with the parameter and what is allowed.
    pub fn of(params: &Params) -> Result<Self, Problem> {
        let node = params.get("node")?;
        if node.is_some_and(|name| name.chars().count() > LONGEST_NAME) {
            let fault = format!("is longer than {LONGEST_NAME} characters");
            return Err(Problem::parameter("node", fault));
        }
        let migration = params.get("migration")?.map(|id| whole(id, 1, MAX_PROJECT_ID));
        let migration = migration.transpose();
        Ok(Self {
            kinds: params.words("kinds", &KINDS)?,
            subjects: params.words("subjects", &SUBJECTS)?,
            node: node.map(str::to_owned),
            migration: migration.map_err(|fault| Problem::parameter("migration", fault))?,
        })
    }

    /// Does it pass? With a node or a migration named, only those that are named do.
    pub fn takes(&self, news: &News) -> bool {
        let among = |words: &[&str], word: &str| words.is_empty() || words.contains(&word);
        let any = self.node.is_none() && self.migration.is_none();
        let named = match &news.subject {
            Subject::Node { id, name } => self.node.as_ref().is_some_and(|wanted| {
                let digits = wanted.bytes().all(|byte| byte.is_ascii_digit());
                if digits { wanted.parse() == Ok(*id) } else { wanted == name }
            }),
            Subject::Migration { id, .. } => self.migration == Some(*id),
        };
        (any || named) && among(&self.kinds, kind(news)) && among(&self.subjects, subject(news))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::events::Committed;

    fn news(subject: Subject, flip: bool) -> News {
        let committed = Committed { instance: "a".to_owned(), seq: 1, place: "a:1@1".to_owned() };
        let committed = flip.then_some(committed);
        News { subject, state: "down".to_owned(), reason: None, at: Timestamp(0), committed }
    }

    /// Which of four pass: an observed node 7 named `n`, its flip, an observed migration 7, its flip.
    fn passes(query: &str) -> String {
        let filter = Filter::of(&Params::parse(Some(query))).unwrap();
        let node = || Subject::Node { id: 7, name: "n".to_owned() };
        let migration = || Subject::Migration { id: 7, mb_project_uuid: "u".to_owned() };
        [(node(), false), (node(), true), (migration(), false), (migration(), true)]
            .into_iter()
            .map(|(subject, flip)| if filter.takes(&news(subject, flip)) { 'x' } else { '-' })
            .collect()
    }

    #[test]
    fn each_filter_narrows_and_names_are_alternatives() {
        for (query, expected) in [
            ("", "xxxx"),
            ("kinds=", "xxxx"),
            ("kinds=flip", "-x-x"),
            ("kinds=flip,observed", "xxxx"),
            ("subjects=node", "xx--"),
            ("subjects=migration&kinds=flip", "---x"),
            ("node=n", "xx--"),
            ("node=7", "xx--"),
            ("node=8", "----"),
            ("migration=7", "--xx"),
            ("migration=7&node=n&kinds=flip", "-x-x"),
            ("migration=7&subjects=node", "----"),
        ] {
            assert_eq!(passes(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let long = format!("node={}", "я".repeat(129));
        for query in [
            "kinds=flips",
            "kinds=flip&kinds=flip",
            "subjects=x",
            "migration=0",
            "migration=x",
            &long,
        ] {
            assert!(Filter::of(&Params::parse(Some(query))).is_err(), "{query}");
        }
        assert!(Filter::of(&Params::parse(Some(&format!("node={}", "я".repeat(128))))).is_ok());
    }
}
