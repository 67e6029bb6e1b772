//! Two monitors that find a death and a runner that reports its success, all at once on one row: one of them is believed.

use std::time::{Duration, Instant};

use procwarden::config;
use procwarden::domain::migration::{Key, Reason, Source, Status};
use procwarden::domain::node::Password;
use procwarden::domain::reconcile::{Basis, Rules, Scope, Write, finish, first_row};
use procwarden::domain::report::{Refusal, Report, report};
use procwarden::domain::{Here, Now, Timestamp, Uptime};
use procwarden::store::{Applied, Holder, Lease, Open, Store, StoreError, StoredMigration};
use serde_json::json;

use crate::support::database::Database;
use crate::support::{Engine, db, eventually, job};

const NOW: Now = Now { wall: Timestamp(9_000_000), up: Uptime(9_000) };

/// One of the three, with connections and a name of its own.
struct Racer {
    store: Store,
    lease: Lease,
    rules: Rules,
}

impl Racer {
    async fn new(database: &Database, name: &str) -> Self {
        let url = Password::new(database.url().to_owned());
        let settings = config::Database { url, ..config::Database::default() };
        let store = Store::open(&settings, Open::Create).await.unwrap();
        let here = Here { host_id: name.to_owned(), boot_id: "b".to_owned(), pid_ns: 1 };
        let holder = Holder {
            name: name.to_owned(),
            here: here.clone(),
            pid: 1,
            start_ticks: None,
            since: Timestamp(0),
            lease: Duration::from_secs(600),
        };
        let lease = store.take_name(&holder, None, false).await.unwrap().unwrap();
        let rules = Rules {
            grace: Duration::from_secs(600),
            settle: Duration::from_secs(5),
            stall_after: None,
            scope: Scope::Local,
            here,
            instance: name.to_owned(),
            sole: false,
            live: ["one", "two", "runner"].map(str::to_owned).into(),
        };
        Self { store, lease, rules }
    }

    async fn apply(&self, writes: Vec<(Option<i64>, Write)>) -> Vec<Applied> {
        self.store.apply(&self.lease, &writes, NOW.wall).await.unwrap()
    }

    /// What a monitor writes that has seen the death at two looks.
    fn death(&self, stored: &StoredMigration) -> (Option<i64>, Write) {
        let mut row = stored.row.clone();
        finish(&mut row, Status::Error, Reason::ProcessGone, Source::Monitor, NOW);
        row.error = Some(format!("seen by {}", self.lease.name));
        let basis = Basis::of(&stored.row);
        (Some(stored.id), Write::Update { basis, row: Box::new(row), flip: true })
    }

    /// What a runner's report comes to.
    fn success(&self, stored: &StoredMigration) -> Result<(Option<i64>, Write), Refusal> {
        let body = Report { status: Status::Success, error: None, run: None };
        let row = &stored.row;
        let (write, _) = report(&row.key, Some(row), None, &body, false, &self.rules, NOW)?;
        Ok((Some(stored.id), write))
    }
}

fn done(applied: &[Applied]) -> usize {
    applied.iter().filter(|applied| matches!(applied, Applied::Done(_))).count()
}

/// So many rounds, each with `rows` fresh rows that the three write in different orders.
async fn race(rounds: i64, rows: i64) {
    let database = Engine::current().fresh();
    if database.engine() == Engine::Postgres {
        // It looks for two that wait for each other only after this, 1 s by default.
        let name = database.url().rsplit('/').next().unwrap();
        db::execute(&database, &format!("ALTER DATABASE {name} SET deadlock_timeout = '20ms'"));
    }
    let one = Racer::new(&database, "one").await;
    let two = Racer::new(&database, "two").await;
    let runner = Racer::new(&database, "runner").await;
    let began = Instant::now();
    let mut reported = 0;
    for round in 0..rounds {
        let first = (0..rows).map(|at| {
            let id = round * rows + at + 1;
            let key = Key { mb_project_uuid: job::uuid(id), brz_project_id: id };
            (None, Write::Insert(Box::new(first_row(&key, &one.rules, NOW))))
        });
        let fresh: Vec<StoredMigration> = one
            .apply(first.collect())
            .await
            .into_iter()
            .map(|applied| match applied {
                Applied::Done(stored) => *stored,
                Applied::Lost | Applied::TheirsMoved | Applied::Told => {
                    panic!("a fresh row was lost")
                }
            })
            .collect();
        let forth = fresh.iter().map(|row| one.death(row)).collect();
        let back = fresh.iter().rev().map(|row| two.death(row)).collect();
        let reports = fresh.iter().map(|row| runner.success(row).unwrap()).collect();
        let (one, two, runner) = tokio::join!(
            async { done(&one.apply(forth).await) },
            async { done(&two.apply(back).await) },
            async { done(&runner.apply(reports).await) },
        );
        assert_eq!(one + two + runner, fresh.len(), "round {round}: {one} {two} {runner}");
        reported += runner;
    }
    println!(
        "{:?}: {rounds} rounds of {rows} in {:?}, {reported} reports came first",
        Engine::current(),
        began.elapsed()
    );
    one_end_each(&database, &runner, usize::try_from(rounds * rows).unwrap()).await;
}

/// Each row has one final state and one event, which says the same; a report that came second is refused.
async fn one_end_each(database: &Database, runner: &Racer, rows: usize) {
    let stored = runner.store.migrations().await.unwrap();
    assert_eq!(stored.len(), rows);
    for row in &stored {
        let refused = match row.row.status {
            Status::Success => Ok(Write::None),
            Status::Error => Err(Refusal::AlreadyFinished(Status::Error)),
            other => panic!("{}: {other}", row.row.key),
        };
        assert_eq!(runner.success(row).map(|(_, write)| write), refused);
    }
    let counts = db::query(
        database,
        "SELECT COUNT(*) AS events, COUNT(DISTINCT e.subject_id) AS subjects, \
         SUM(CASE WHEN e.status = m.status AND e.instance = m.writer THEN 1 ELSE 0 END) AS same \
         FROM procwarden_events AS e JOIN procwarden_migrations AS m ON m.id = e.subject_id",
    );
    assert_eq!(counts, [json!({"events": rows, "subjects": rows, "same": rows})]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_end_and_one_event_however_many_saw_it() {
    Box::pin(race(300, 1)).await;
}

/// In opposite orders they are in each other's way: an engine lets one of them begin again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_opposite_orders_end_as_well() {
    Box::pin(race(30, 12)).await;
}

/// A commit whose answer was lost may still be under way; what is read then must be what it leaves behind.
#[tokio::test]
async fn what_is_under_way_in_our_name_is_waited_for() {
    let database = Engine::current().fresh();
    let wait = match database.engine() {
        // No server: what a process had under way ends with it.
        Engine::Sqlite => return,
        Engine::Postgres => "SELECT pg_sleep(2)",
        Engine::MySql => "DO SLEEP(2)",
    };
    let one = Racer::new(&database, "one").await;
    let key = Key { mb_project_uuid: job::uuid(1), brz_project_id: 1 };
    one.apply(vec![(None, Write::Insert(Box::new(first_row(&key, &one.rules, NOW))))]).await;
    let late = format!(
        "START TRANSACTION; UPDATE procwarden_instances SET seq = seq + 1; \
         UPDATE procwarden_migrations SET status = 'success'; {wait}; COMMIT"
    );
    let theirs = database.clone();
    let other = std::thread::spawn(move || db::execute(&theirs, &late));
    let free = "SELECT name FROM procwarden_instances FOR UPDATE SKIP LOCKED";
    eventually(Duration::from_secs(60), || async {
        let free = db::query(&database, free);
        if free.is_empty() { Ok(()) } else { Err("it has not begun") }
    })
    .await;
    let read = one.store.migrations().await.unwrap();
    assert_eq!(read[0].row.status, Status::InProgress, "a read waits for nobody");
    one.store.settle(&one.lease).await.unwrap();
    let read = one.store.migrations().await.unwrap();
    assert_eq!(read[0].row.status, Status::Success);
    other.join().unwrap();
    let other = Lease { epoch: one.lease.epoch + 1, ..one.lease.clone() };
    assert!(matches!(one.store.settle(&other).await, Err(StoreError::LostName(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: ten thousand rounds"]
async fn one_end_and_one_event_in_ten_thousand_rounds() {
    Box::pin(race(10_000, 1)).await;
}
