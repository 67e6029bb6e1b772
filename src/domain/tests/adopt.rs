//! Their row and ours: whose word counts, and for which run.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::domain::adopt::{
    Code, Record, Situation, called_dead, differences, first, is_known, is_of_another, lock_gone,
    settle, take_over,
};
use crate::domain::migration::{
    Key, Lock, LockPid, Mark, Migration, Reason, Source, State, Status,
};
use crate::domain::process::{Alive, DeathProof, Here, Identity, Presence};
use crate::domain::reconcile::{
    Dead, Decision, LockSight, Memory, Rules, Scope, Sight, Write, evaluate, finish, first_row,
};
use crate::domain::time::{Now, Timestamp, Uptime};

const NOW: Now = Now { wall: Timestamp(1_000_000), up: Uptime(5000) };
const LATER: Now = Now { wall: Timestamp(2_000_000), up: Uptime(1_005_000) };

fn rules() -> Rules {
    Rules {
        grace: Duration::from_secs(600),
        settle: Duration::from_secs(5),
        stall_after: None,
        scope: Scope::Local,
        here: Here::default(),
        instance: "here".to_owned(),
        sole: true,
        live: BTreeSet::new(),
    }
}

fn key() -> Key {
    Key { mb_project_uuid: "u".to_owned(), brz_project_id: 1 }
}

fn theirs(word: &str) -> Record {
    Record::of_json(Some(json!({"status": word, "error": "theirs"}).to_string()), "status", "error")
}

/// A run whose lock was seen.
fn running(their_status: Option<&str>) -> Migration {
    Migration {
        lock_file: Some("u-1.lock".to_owned()),
        lock_pid: Some(7),
        their_status: their_status.map(str::to_owned),
        ..first_row(&key(), &rules(), NOW)
    }
}

fn ended(status: Status, source: Source, their_status: Option<&str>) -> Migration {
    let mut row = running(their_status);
    finish(&mut row, status, Reason::ProcessGone, source, NOW);
    row
}

#[test]
fn a_row_of_theirs_alone_is_as_they_say() {
    let made = |word: &str| first(&key(), &theirs(word), &rules(), NOW);
    let error = made("error");
    assert_eq!((error.status, error.state), (Status::Error, State::Finished));
    assert_eq!(
        (error.status_source, error.error.as_deref()),
        (Some(Source::Adopted), Some("theirs"))
    );
    for (word, status) in [
        ("pending", Status::Pending),
        ("in_progress", Status::InProgress),
        ("what", Status::Pending),
    ] {
        let row = made(word);
        assert_eq!(
            (row.status, row.state, row.status_source),
            (status, State::Unknown, None),
            "{word}"
        );
        assert!(row.is_announced());
    }
}

#[test]
fn a_final_word_that_is_news_ends_the_run() {
    for word in ["success", "completed", "error"] {
        let row = take_over(&running(Some("in_progress")), &theirs(word), LATER);
        assert_eq!((row.status.as_str(), row.status_source), (word, Some(Source::Adopted)));
        assert_eq!((row.state, row.ended_at), (State::Finished, Some(LATER.wall)));
        assert_eq!(row.error.is_some(), word == "error");
        assert_eq!(row.their_status, Some(theirs(word).mark()));
    }
}

#[test]
fn a_final_word_that_stood_there_before_says_nothing() {
    for known in [Some("error"), None] {
        let row = take_over(&running(known), &theirs("error"), LATER);
        assert_eq!((row.status, row.state), (Status::InProgress, State::Alive), "{known:?}");
        assert!(is_known(&row, &theirs("error")));
    }
}

#[test]
fn a_run_that_ends_takes_the_final_word_that_stands_there_unless_it_is_of_the_run_before() {
    let before = running(Some("error"));
    let stale = ended(Status::Completed, Source::LockReleased, Some("~error:0123456789abcdef"));
    assert_eq!(settle(Some(&before), stale.clone(), &theirs("error"), LATER), stale);
    let judged = ended(Status::Completed, Source::LockReleased, Some("error"));
    let row = settle(Some(&before), judged.clone(), &theirs("error"), LATER);
    assert_eq!((row.status, row.status_source), (Status::Error, Some(Source::Adopted)));
    let row = settle(Some(&before), judged.clone(), &theirs("in_progress"), LATER);
    assert_eq!(row, judged, "nothing final there");
    let same = ended(Status::Error, Source::Monitor, Some("error"));
    assert_eq!(settle(Some(&before), same.clone(), &theirs("error"), LATER), same, "ours says why");
    // What has ended before is not asked about again.
    let row = settle(Some(&judged), judged.clone(), &theirs("error"), LATER);
    assert_eq!(row, judged);
}

#[test]
fn another_run_begins_with_what_stands_there_then() {
    let before = ended(Status::Error, Source::Adopted, Some("error"));
    let next = Migration { run: 2, ..running(None) };
    let row = settle(Some(&before), next, &theirs("error"), LATER);
    assert_eq!((row.status, is_of_another(&row)), (Status::InProgress, true));
    assert_eq!(take_over(&row, &theirs("error"), LATER), row, "what stood there before");
    // The same word, said anew, is about this run.
    let again = Record { updated_at: Some(LATER.wall), ..theirs("error") };
    assert_eq!(take_over(&row, &again, LATER).status, Status::Error);
    let row = take_over(&row, &theirs("completed"), LATER);
    assert_eq!((row.run, row.status), (2, Status::Completed));
}

/// A lock that names nobody.
fn nameless(mtime: Timestamp) -> Lock {
    Lock {
        file: "u-1.lock".into(),
        pid: LockPid::Missing,
        started: None,
        stage_updated: None,
        mtime,
        mark: Mark { dev: 1, ino: 2, mtime_ns: 3, size: 0 },
    }
}

fn process() -> Identity {
    Identity { boot_id: String::new(), pid_ns: 0, pid: 7, start_ticks: Some(1), inode: Some(1) }
}

/// What follows later from a lock, and from the process that it or the row names.
fn look(row: &Migration, lock: &Lock, process: Option<Presence>, memory: &Memory) -> Decision {
    let lock = LockSight::Present(lock.clone());
    let sight = Sight { lock, dir: None, process, exit: None, elsewhere: None, data: None };
    evaluate(&key(), Some(row), &sight, memory, &rules(), LATER)
}

/// A runner writes its lock, and we look before and after its content is there.
#[test]
fn a_lock_that_is_half_written_leaves_an_announced_row_to_the_next_run() {
    let row = first(&key(), &theirs("error"), &rules(), LATER);
    let empty = nameless(LATER.wall);
    let half = look(&row, &empty, None, &Memory::default());
    assert_eq!((&half.write, half.row.as_ref()), (&Write::None, Some(&row)));
    // In whole seconds, so it begins before the row ended.
    let started = Some(Timestamp(LATER.wall.0 - 999));
    let whole = Lock { pid: LockPid::Number(7), started, ..empty };
    let alive = Alive { identity: process(), started: Some(LATER.wall), stopped: false };
    let next = look(&row, &whole, Some(Presence::Alive(alive)), &Memory::default()).row.unwrap();
    assert_eq!((next.run, next.status, next.state), (2, Status::InProgress, State::Alive));
}

/// It was set back, and ended again by their word: what is known of the process before says nothing of this lock.
#[test]
fn a_lock_that_names_nobody_is_not_removed_for_a_row_whose_lock_nobody_saw() {
    let seen = Migration {
        identity: Some(process()),
        ..ended(Status::Error, Source::Adopted, Some("error"))
    };
    let unseen = Migration { lock_file: None, ..seen.clone() };
    let dead = Dead { whose: (Some(7), None), up: NOW.up, wall: NOW.wall };
    let memory = Memory { dead: Some(dead), absent: None, watched: true };
    let lock = nameless(Timestamp(NOW.wall.0 + 1));
    let gone = Some(Presence::Dead(DeathProof::NoSuchProcess));
    let removes = |row: &Migration| look(row, &lock, gone.clone(), &memory).remove_lock;
    assert!(removes(&seen), "a late write of its own");
    assert!(!removes(&unseen));
}

#[test]
fn a_final_word_wins_over_what_we_concluded() {
    for (ours, source) in [
        (Status::Error, Source::Monitor),
        (Status::Completed, Source::LockReleased),
        (Status::Completed, Source::Runner),
    ] {
        let row = take_over(&ended(ours, source, Some("in_progress")), &theirs("success"), LATER);
        assert_eq!((row.status, row.status_source), (Status::Success, Some(Source::Adopted)));
        assert_eq!((row.ended_at, row.error), (Some(NOW.wall), None), "when it ended stays");
    }
    let ours = ended(Status::Error, Source::Monitor, Some("in_progress"));
    let row = take_over(&ours, &theirs("error"), LATER);
    let same = Migration { their_status: Some(theirs("error").mark()), ..ours };
    assert_eq!(row, same, "the same word; ours says why");
}

#[test]
fn set_back_only_if_their_word_was_final() {
    let row =
        take_over(&ended(Status::Error, Source::Adopted, Some("error")), &theirs("pending"), LATER);
    assert_eq!((row.status, row.state, row.run), (Status::Pending, State::Unknown, 1));
    assert!(row.is_announced() && row.death_recorded(), "the old lock means nothing");
    let ours = ended(Status::Completed, Source::LockReleased, Some("pending"));
    let row = take_over(&ours, &theirs("in_progress"), LATER);
    assert_eq!((row.status, row.state), (Status::Completed, State::Finished));
}

#[test]
fn what_differs_and_what_does_not() {
    let codes =
        |row: &Migration, record: Option<&Record>, exists: bool, alive: bool, removable: bool| {
            let it = Situation { row, record, lock_exists: exists, alive, removable, shadow: true };
            differences(&it).into_iter().map(|it| it.code).collect::<Vec<_>>()
        };
    let error = ended(Status::Error, Source::Monitor, Some("in_progress"));
    let done = ended(Status::Completed, Source::LockReleased, Some("in_progress"));
    let going = theirs("in_progress");
    assert_eq!(
        codes(&error, Some(&going), true, false, true),
        [Code::ErrorHereOnly, Code::LockThereOnly]
    );
    assert_eq!(codes(&error, Some(&theirs("error")), false, false, false), []);
    assert_eq!(codes(&error, Some(&theirs("success")), false, false, false), [], "theirs wins");
    assert_eq!(codes(&error, Some(&theirs("pending")), true, false, false), [Code::NotInProgress]);
    assert_eq!(codes(&error, Some(&theirs("what")), true, false, false), [Code::RowUnreadable]);
    assert_eq!(codes(&error, None, true, false, false), [Code::NoRow]);
    assert_eq!(codes(&done, Some(&going), false, false, false), [Code::CompletedHereOnly]);
    assert_eq!(codes(&done, None, false, false, false), [], "nothing is to be written");
    assert_eq!(codes(&running(None), Some(&going), true, true, false), []);
    let by_theirs = ended(Status::Error, Source::Adopted, Some("error"));
    assert_eq!(
        codes(&by_theirs, Some(&theirs("error")), false, true, false),
        [Code::ErrorThereOnly]
    );
    assert_eq!(codes(&running(None), Some(&theirs("error")), true, true, false), [], "of before");
    let stale = ended(Status::Completed, Source::LockReleased, Some("~error:0"));
    assert_eq!(
        codes(&stale, Some(&theirs("error")), false, false, false),
        [Code::CompletedHereOnly]
    );
    let monitor = Record { by_monitor: true, ..theirs("error") };
    assert!(called_dead(&running(Some("in_progress")), &monitor).is_some());
    assert!(
        called_dead(&running(Some("in_progress")), &theirs("error")).is_none(),
        "its runner may"
    );
    assert!(called_dead(&running(Some("error")), &monitor).is_none(), "of before");
}

#[test]
fn a_lock_that_is_removed_although_nothing_was_proven() {
    let row = |state, reason| Migration { state, reason, ..running(None) };
    for (state, reason) in [
        (State::Unknown, Some(Reason::NoPid)),
        (State::Unknown, Some(Reason::PidNamespace)),
        (State::Foreign, None),
    ] {
        assert_eq!(lock_gone(&row(state, reason)).unwrap().code, Code::LockHereOnly);
    }
    assert_eq!(lock_gone(&row(State::Alive, None)), None, "its runner may");
    assert_eq!(lock_gone(&row(State::Gone, Some(Reason::ProcessGone))), None);
    assert_eq!(lock_gone(&row(State::Unknown, Some(Reason::Killed))), None, "it is dead");
}

fn words() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "pending",
        "in_progress",
        "success",
        "completed",
        "error",
        "what",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    /// Whatever they say, one after another: taken over twice is once, and only their own word sets a row back.
    #[test]
    fn taking_over_is_idempotent_and_never_reopens_by_itself(said in proptest::collection::vec(words(), 1..8)) {
        let mut row = running(Some("in_progress"));
        for word in said {
            let before = row.clone();
            row = take_over(&row, &theirs(&word), LATER);
            prop_assert_eq!(&take_over(&row, &theirs(&word), LATER), &row);
            if before.status.is_final() && !row.status.is_final() {
                let was = before.their_status.as_deref().and_then(|it| Status::parse(it.split(':').next()?));
                prop_assert!(was.is_some_and(Status::is_final));
            }
            prop_assert_eq!(row.status.is_final(), row.state == State::Finished);
            prop_assert_eq!(row.run, 1);
            if let Some(status) = theirs(&word).final_status() {
                prop_assert_eq!(row.status, status);
            }
        }
    }
}
