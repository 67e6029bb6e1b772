//! Many rows in one transaction, of which somebody else has changed one.

use std::collections::BTreeSet;
use std::time::Duration;

use procwarden::config::Settings;
use procwarden::domain::migration::{Key, Mark, Migration, Reason, Source, State, Status};
use procwarden::domain::node::Password;
use procwarden::domain::reconcile::{Basis, Rules, Scope, Write, first_row};
use procwarden::domain::{Here, Identity, Now, Timestamp};
use procwarden::monitor::Monitor;
use procwarden::store::{Applied, Open, StoredMigration};

use crate::support::engine::Engine;

/// More than one statement takes.
const ROWS: i64 = 1100;

fn first(id: i64) -> Migration {
    let rules = Rules {
        grace: Duration::ZERO,
        settle: Duration::ZERO,
        stall_after: None,
        scope: Scope::Local,
        here: Here::default(),
        instance: "a".to_owned(),
        sole: true,
        live: BTreeSet::new(),
    };
    let key = Key { mb_project_uuid: "u".to_owned(), brz_project_id: id };
    first_row(&key, &rules, Now::default())
}

/// Every column at its widest, and text that has to be quoted.
fn ended(before: &StoredMigration) -> (Option<i64>, Write) {
    let row = Migration {
        status: Status::Error,
        state: State::Finished,
        reason: Some(Reason::ProcessGone),
        status_source: Some(Source::Monitor),
        error: Some("it said \"no\\\", 'ü🦀',\n and a \0".to_owned()),
        lock_file: Some("u-1.lock".to_owned()),
        lock_pid: Some(i64::MAX),
        lock_mark: Some(Mark { dev: u64::MAX, ino: u64::MAX - 1, mtime_ns: i64::MAX, size: 1 }),
        identity: Some(Identity {
            boot_id: "b".to_owned(),
            pid_ns: u64::MAX,
            pid: i32::MAX,
            start_ticks: Some(u64::MAX / 2),
            inode: None,
        }),
        lock_data: Some(r#"{"a":"\u0000"}"#.into()),
        updated_at: Timestamp(1_717_243_200_123),
        ended_at: Some(Timestamp(1_717_243_200_123)),
        ..before.row.clone()
    };
    (
        Some(before.id),
        Write::Update { basis: Basis::of(&before.row), row: Box::new(row), flip: true },
    )
}

#[tokio::test]
async fn only_the_row_that_another_changed_is_left_alone() {
    let database = Engine::current().fresh();
    let mut settings = Settings::default();
    settings.database.url = Password::new(database.url().to_owned());
    "a".clone_into(&mut settings.instance.name);
    let monitor = Monitor::open(&settings, Open::Create).await.unwrap();
    let (store, lease) = (monitor.store(), monitor.lease().await.unwrap());

    let inserts: Vec<_> = (1..=ROWS).map(|id| (None, Write::Insert(Box::new(first(id))))).collect();
    let applied = store.apply(lease, &inserts, Timestamp(1)).await.unwrap();
    assert!(applied.iter().all(|it| matches!(it, Applied::Done(_))));
    let rows = store.migrations().await.unwrap();
    assert_eq!(i64::try_from(rows.len()), Ok(ROWS));

    let rival = store.apply(lease, &[ended(&rows[700])], Timestamp(2)).await.unwrap();
    assert!(matches!(rival[..], [Applied::Done(_)]));
    let all: Vec<_> = rows.iter().map(ended).collect();
    let applied = store.apply(lease, &all, Timestamp(3)).await.unwrap();
    let lost: Vec<usize> =
        (0..applied.len()).filter(|at| matches!(applied[*at], Applied::Lost)).collect();
    assert_eq!(lost, [700]);

    let after = store.migrations().await.unwrap();
    for (row, (_, write)) in after.iter().zip(&all) {
        let Write::Update { row: wanted, .. } = write else { unreachable!() };
        let mut wanted = Migration::clone(wanted);
        wanted.error = wanted.error.map(|text| text.replace('\0', "\u{FFFD}"));
        assert_eq!(row.row, wanted);
    }
    let events = store.events("a", 2 * ROWS).await.unwrap();
    let told: BTreeSet<i64> = events.iter().map(|it| it.subject_id).collect();
    assert_eq!((i64::try_from(events.len()), told.len()), (Ok(ROWS), events.len()), "one for each");
    monitor.close().await;
}
