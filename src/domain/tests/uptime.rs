//! Uptime, case by case: what counts as up, as down, and as neither.

use std::time::Duration;

use proptest::prelude::*;

use crate::domain::time::Timestamp;
use crate::domain::uptime::{Share, uptime};
use crate::domain::verdict::State::{self, Disabled, Down, Stale, Unknown, Up};

type Turns<'a> = &'a [(i64, State)];
type Watched<'a> = &'a [(i64, i64)];

/// Name, turns, watches, and the shares expected of them.
type Case<'a> = (&'a str, Turns<'a>, Watched<'a>, (u64, u64, u64));

/// The period from 100 to 200 s as `up down unknown`, in seconds.
fn shares(turns: Turns<'_>, watched: Watched<'_>) -> (u64, u64, u64) {
    let share = share(turns, watched);
    (share.up.as_secs(), share.down.as_secs(), share.unknown.as_secs())
}

fn share(turns: Turns<'_>, watched: Watched<'_>) -> Share {
    let at = |secs: i64| Timestamp::from_secs(secs);
    let turns: Vec<_> = turns.iter().map(|(secs, state)| (at(*secs), *state)).collect();
    let watched: Vec<_> = watched.iter().map(|(since, until)| (at(*since), at(*until))).collect();
    uptime(&turns, &watched, at(100), at(200))
}

#[test]
fn only_what_was_watched_and_known_counts() {
    const ALL: Watched<'_> = &[(0, 300)];
    let cases: [Case<'_>; 14] = [
        ("nothing is known", &[], &[], (0, 0, 100)),
        ("watched, and nothing ever turned", &[], ALL, (0, 0, 100)),
        ("up since long ago", &[(5, Up)], ALL, (100, 0, 0)),
        ("up, and nobody watched", &[(5, Up)], &[], (0, 0, 100)),
        ("down for a tenth", &[(5, Up), (150, Down), (160, Up)], ALL, (90, 10, 0)),
        ("known from the middle on", &[(150, Up)], ALL, (50, 0, 50)),
        ("what turned before the period", &[(5, Up), (90, Down)], ALL, (0, 100, 0)),
        ("what turned at its first moment", &[(5, Up), (100, Down)], ALL, (0, 100, 0)),
        ("what turned at its end", &[(5, Up), (200, Down)], ALL, (100, 0, 0)),
        (
            "nobody watched for a while, the state stood",
            &[(5, Up)],
            &[(0, 120), (150, 300)],
            (70, 0, 30),
        ),
        (
            "it went down while nobody watched",
            &[(5, Up), (150, Down)],
            &[(0, 120), (150, 300)],
            (20, 50, 30),
        ),
        ("two watched at once", &[(5, Up)], &[(140, 160), (100, 150), (145, 146)], (60, 0, 40)),
        (
            "neither up nor down",
            &[(5, Up), (110, Unknown), (120, Stale), (130, Disabled), (140, Down)],
            ALL,
            (10, 60, 30),
        ),
        (
            "watches that are none",
            &[(5, Up)],
            &[(150, 150), (160, 155), (20, 90), (210, 220)],
            (0, 0, 100),
        ),
    ];
    for (name, turns, watched, expected) in cases {
        assert_eq!(shares(turns, watched), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn the_parts_are_the_whole(
        mut turns in proptest::collection::vec((0_i64..300, prop_oneof![Just(Up), Just(Down), Just(Unknown)]), 0..20),
        watched in proptest::collection::vec((0_i64..300, 0_i64..300), 0..20),
    ) {
        turns.sort_by_key(|(at, _)| *at);
        let share = share(&turns, &watched);
        prop_assert_eq!(share.up + share.down + share.unknown, Duration::from_secs(100));
        let known = (100..200_i64).filter(|at| {
            let state = turns.iter().rfind(|(turned, _)| turned <= at).map(|(_, state)| *state);
            let seen = watched.iter().any(|(since, until)| since <= at && at < until);
            seen && matches!(state, Some(Up | Down))
        });
        prop_assert_eq!(share.up + share.down, Duration::from_secs(known.count() as u64));
    }
}
