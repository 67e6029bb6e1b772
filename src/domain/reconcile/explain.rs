//! Predicate by predicate: what was seen, what it is held against, whether it holds.

use std::time::Duration;

use super::{Memory, Predicate, Rules, Sight, Standing};
use crate::domain::migration::Migration;
use crate::domain::process::Presence;
use crate::domain::time::Now;

pub(super) fn explain(
    standing: &Standing,
    memory: &Memory,
    (age, still): (Duration, Option<Duration>),
    row: Option<&Migration>,
    sight: &Sight,
    rules: &Rules,
    now: Now,
) -> Vec<Predicate> {
    let value = match standing {
        Standing::Alive(Some(alive)) if alive.stopped => "stopped".to_owned(),
        Standing::Alive(Some(_)) => "alive".to_owned(),
        Standing::Alive(None) => "no PID yet, the lock is fresh".to_owned(),
        Standing::Dead(proof) => {
            let told = sight.exit.or(row.and_then(|row| row.exit));
            told.map_or_else(|| proof.as_str().to_owned(), |exit| exit.to_string())
        }
        Standing::Unknown(reason) => match &sight.process {
            Some(Presence::Unknown(why)) => format!("unknown: {}", why.as_str()),
            _ => format!("unknown: {reason}"),
        },
        Standing::Foreign => "foreign".to_owned(),
    };
    let dead_for = memory.dead.map_or(Duration::ZERO, |dead| now.up.since(dead.up));
    let mut list = vec![
        Predicate {
            name: "process_dead",
            value,
            threshold: None,
            holds: matches!(standing, Standing::Dead(_)),
        },
        Predicate {
            name: "seen_dead_for",
            value: secs(dead_for),
            threshold: Some(secs(rules.settle)),
            holds: memory.dead.is_some() && dead_for >= rules.settle,
        },
        Predicate {
            name: "lock_age",
            value: secs(age),
            threshold: Some(secs(rules.grace)),
            holds: age > rules.grace,
        },
    ];
    if let (Some(still), Some(limit)) = (still, rules.stall_after) {
        list.push(Predicate {
            name: "stalled",
            value: secs(still),
            threshold: Some(secs(limit)),
            holds: still >= limit,
        });
    }
    list.extend(row.map(row_predicate));
    list
}

pub(super) fn row_predicate(row: &Migration) -> Predicate {
    Predicate {
        name: "row_unfinished",
        value: row.status.to_string(),
        threshold: None,
        holds: !row.status.is_final(),
    }
}

pub(super) fn secs(duration: Duration) -> String {
    if duration.as_secs() == 0 && !duration.is_zero() {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", duration.as_secs())
    }
}
