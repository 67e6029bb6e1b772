//! The store on a real SQLite file.

use std::time::Duration;

use super::*;
use crate::domain::migration::{Key, Migration, Reason, Source, Status};
use crate::domain::node::{Node, Password};
use crate::domain::process::Here;
use crate::domain::reconcile::{Basis, Rules, Scope, Write, finish, first_row};
use crate::domain::verdict::{State, Verdict};
use crate::domain::{Identity, Method, Now, Timestamp, Uptime, observation};

struct Base {
    store: Store,
    lease: Lease,
    settings: Database,
    _dir: tempfile::TempDir,
}

async fn base() -> Base {
    let dir = tempfile::tempdir().unwrap();
    let settings = at(&dir.path().join("p.db"));
    let store = Store::open(&settings, Open::Create).await.unwrap();
    let lease = lease(&store, "a").await;
    Base { store, lease, settings, _dir: dir }
}

fn at(path: &Path) -> Database {
    let url = Password::new(format!("sqlite://{}", path.display()));
    Database { url, ..Database::default() }
}

async fn lease(store: &Store, name: &str) -> Lease {
    let holder = Holder {
        name: name.to_owned(),
        here: Here::default(),
        pid: 1,
        start_ticks: None,
        since: Timestamp(0),
        lease: Duration::from_secs(10),
    };
    store.take_name(&holder, None, false).await.unwrap().unwrap()
}

fn node(name: &str) -> NewNode {
    NewNode {
        node: Node {
            password: Some(Password::new("pa:ss".to_owned())),
            pid: Some(4711),
            ..Node::new(name, "127.0.0.1", 18082, "a")
        },
        origin: Origin::User,
        owner: "a".to_owned(),
    }
}

async fn add(store: &Store, name: &str) -> Result<i64, StoreError> {
    let written = store.write_nodes(&[NodeWrite::Insert(node(name))], Timestamp(1)).await?;
    Ok(written[0].unwrap())
}

fn row() -> Migration {
    let rules = Rules {
        grace: Duration::from_secs(600),
        settle: Duration::from_secs(5),
        stall_after: None,
        scope: Scope::Local,
        here: Here { host_id: "h".to_owned(), boot_id: "b".to_owned(), pid_ns: 1 },
        instance: "a".to_owned(),
        sole: true,
        live: std::collections::BTreeSet::new(),
    };
    let key = Key {
        mb_project_uuid: "3c56530e-ca31-4a7c-964f-e69be01f382a".to_owned(),
        brz_project_id: 23_131_991,
    };
    let mut row = first_row(&key, &rules, Now { wall: Timestamp(1000), up: Uptime(1000) });
    row.identity = Some(Identity {
        boot_id: "b".to_owned(),
        pid_ns: u64::MAX,
        pid: 7,
        start_ticks: Some(u64::MAX - 1),
        inode: None,
    });
    row
}

async fn insert(Base { store, lease, .. }: &Base) -> StoredMigration {
    let first = [(None, Write::Insert(Box::new(row())))];
    let applied = store.apply(lease, &first, Timestamp(1)).await;
    match applied.unwrap().pop() {
        Some(Applied::Done(stored)) => *stored,
        other => panic!("{other:?}"),
    }
}

fn error(stored: &StoredMigration) -> (Option<i64>, Write) {
    let mut next = stored.row.clone();
    let now = Now { wall: Timestamp(9000), up: Uptime(9000) };
    finish(&mut next, Status::Error, Reason::ProcessGone, Source::Monitor, now);
    let basis = Basis::of(&stored.row);
    (Some(stored.id), Write::Update { basis, row: Box::new(next), flip: true })
}

#[tokio::test]
async fn a_row_comes_back_as_it_went_in() {
    let base = base().await;
    let stored = insert(&base).await;
    assert_eq!(stored.row, row());
    assert_eq!(base.store.migrations().await.unwrap(), vec![stored]);
    assert!(base.store.events("a", 10).await.unwrap().is_empty(), "a first sight is no event");
}

#[tokio::test]
async fn of_two_writers_one_wins_and_one_event_stands() {
    let base = base().await;
    let stored = insert(&base).await;
    let other = Store::open(&base.settings, Open::Existing).await.unwrap();
    let (writes, rival) = ([error(&stored)], [error(&stored)]);
    let (one, two) = tokio::join!(
        base.store.apply(&base.lease, &writes, Timestamp(2)),
        other.apply(&base.lease, &rival, Timestamp(2))
    );
    let lost = [one.unwrap(), two.unwrap()]
        .concat()
        .into_iter()
        .filter(|applied| *applied == Applied::Lost)
        .count();
    assert_eq!(lost, 1);
    let events = base.store.events("a", 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].status.as_deref(), Some("error"));
}

#[tokio::test]
async fn a_second_row_of_one_key_is_lost_and_the_others_stand() {
    let base = base().await;
    insert(&base).await;
    let mut other = row();
    other.key.brz_project_id = 5;
    let writes = [(None, Write::Insert(Box::new(row()))), (None, Write::Insert(Box::new(other)))];
    let applied = base.store.apply(&base.lease, &writes, Timestamp(3)).await.unwrap();
    assert_eq!(applied[0], Applied::Lost);
    assert!(matches!(applied[1], Applied::Done(_)));
}

#[tokio::test]
async fn names_are_unique_and_ids_are_never_given_again() {
    let base = base().await;
    let first = add(&base.store, "a").await.unwrap();
    let again = add(&base.store, "a").await;
    assert!(matches!(again, Err(StoreError::DuplicateName(name)) if name == "a"));
    let gone = base.store.write_nodes(&[NodeWrite::Delete(first)], Timestamp(1)).await;
    assert_eq!(gone.unwrap(), [Some(first)]);
    let second = add(&base.store, "a").await.unwrap();
    assert!(second > first);
    assert_eq!(base.store.revision().await.unwrap(), 3);
}

#[tokio::test]
async fn a_verdict_on_a_node_that_was_edited_meanwhile_is_not_recorded() {
    let base = base().await;
    let id = add(&base.store, "a").await.unwrap();
    let write = |version, was, state| VerdictWrite {
        id,
        name: "a".to_owned(),
        version,
        owner_epoch: 0,
        was,
        host_id: "h".to_owned(),
        verdict: Verdict { state, checked_at: Some(Timestamp(5)), ..Verdict::default() },
        flip: true,
    };
    base.store
        .record_verdicts(&base.lease, &[write(1, State::Unknown, State::Up)], Timestamp(5))
        .await
        .unwrap();
    let mut edited = base.store.nodes().await.unwrap().remove(0).node;
    edited.port = 1;
    let edit = || [NodeWrite::Update { node: edited.clone(), version: 1, reset: true }];
    assert_eq!(base.store.write_nodes(&edit(), Timestamp(6)).await.unwrap(), [Some(id)]);
    assert_eq!(base.store.write_nodes(&edit(), Timestamp(6)).await.unwrap(), [None], "too late");
    base.store
        .record_verdicts(&base.lease, &[write(1, State::Up, State::Down)], Timestamp(7))
        .await
        .unwrap();
    let stored = base.store.nodes().await.unwrap().remove(0);
    assert_eq!((stored.verdict.state, stored.verdict.checked_at), (State::Unknown, None));
    assert_eq!(base.store.events("a", 10).await.unwrap().len(), 1);
}

/// More than one statement's rows, and a rest.
#[tokio::test]
async fn each_of_many_verdicts_goes_to_its_node_and_a_stale_one_to_none() {
    let base = base().await;
    let new: Vec<_> = (0..230).map(|nth| NodeWrite::Insert(node(&nth.to_string()))).collect();
    let ids = base.store.write_nodes(&new, Timestamp(1)).await.unwrap();
    let write = |(nth, id): (i64, &Option<i64>)| VerdictWrite {
        id: id.unwrap(),
        name: nth.to_string(),
        version: if nth == 7 || nth == 207 { 2 } else { 1 },
        owner_epoch: 0,
        was: State::Unknown,
        host_id: "h".to_owned(),
        verdict: Verdict {
            state: if nth % 2 == 0 { State::Up } else { State::Down },
            reason: Some(observation::Reason::PortClosed),
            message: format!("m{nth}"),
            method: Some(Method::Full),
            data: Some(format!(r#"{{"n":{nth}}}"#)),
            checked_at: Some(Timestamp(nth)),
            since: Some(Timestamp(nth + 1000)),
            latency_ms: Some(u32::try_from(nth + 2000).unwrap()),
            streak: u32::try_from(nth).unwrap(),
            identity: Some(Identity {
                boot_id: format!("b{nth}"),
                pid_ns: 1,
                pid: 2,
                start_ticks: Some(3),
                inode: Some(4),
            }),
            ..Verdict::default()
        },
        flip: true,
    };
    let writes: Vec<VerdictWrite> = (0..).zip(&ids).map(write).collect();
    let left = base.store.record_verdicts(&base.lease, &writes, Timestamp(5)).await.unwrap();
    assert_eq!(left, [writes[7].id, writes[207].id].into());
    for (stored, write) in base.store.nodes().await.unwrap().iter().zip(&writes) {
        let is_left = left.contains(&write.id);
        let expected = if is_left { Verdict::default() } else { write.verdict.clone() };
        assert_eq!((stored.node.id, &stored.verdict), (write.id, &expected));
    }
    assert_eq!(base.store.events("a", 1000).await.unwrap().len(), 228);
}

#[tokio::test]
async fn eight_first_starts_at_once_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = at(&dir.path().join("p.db"));
    let opens = (0..8).map(|_| {
        let settings = settings.clone();
        tokio::spawn(async move { Store::open(&settings, Open::Create).await })
    });
    for open in opens.collect::<Vec<_>>() {
        open.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn only_serve_makes_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.db");
    let settings = at(&path);
    let opened = Store::open(&settings, Open::Existing).await;
    assert!(matches!(opened, Err(StoreError::Missing(missing)) if missing == path));
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let opened = Store::open(&settings, Open::Existing).await;
    assert!(matches!(opened, Err(StoreError::OlderSchema { found: 0, .. })));
}

#[test]
fn the_server_lock_is_held_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.db");
    let held = ServerLock::take(&path).unwrap();
    let again = ServerLock::take(&path);
    assert!(matches!(again, Err(LockHeld::Held { pid: Some(pid) }) if pid == std::process::id()));
    drop(held);
    assert!(ServerLock::take(&path).is_ok());
}

#[test]
fn no_secret_of_a_url_is_shown() {
    assert_eq!(redacted("postgres://u:p@ss@h/db?password=x"), "postgres://***@h/db");
    assert_eq!(redacted("sqlite:///var/lib/p.db"), "sqlite:///var/lib/p.db");
}

#[tokio::test]
async fn nobody_else_may_read_a_database_that_was_made_here() {
    use std::os::unix::fs::PermissionsExt as _;

    let base = base().await;
    add(&base.store, "a").await.unwrap();
    let files = std::fs::read_dir(base.store.path().unwrap().parent().unwrap()).unwrap();
    for file in files.map(Result::unwrap) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.path());
    }
}

#[tokio::test]
async fn nothing_is_written_into_a_file_that_is_no_longer_the_database() {
    let base = base().await;
    let stored = insert(&base).await;
    let away = base.store.path().unwrap().with_extension("away");
    std::fs::rename(base.store.path().unwrap(), &away).unwrap();
    let refused = |result: Result<Vec<Applied>, StoreError>| {
        assert!(matches!(result, Err(StoreError::Replaced { .. })), "{result:?}");
    };
    refused(base.store.apply(&base.lease, &[error(&stored)], Timestamp(2)).await);
    std::fs::write(base.store.path().unwrap(), "").unwrap();
    refused(base.store.apply(&base.lease, &[error(&stored)], Timestamp(3)).await);
    assert!(matches!(base.store.ping().await, Err(StoreError::Replaced { .. })));
    std::fs::rename(&away, base.store.path().unwrap()).unwrap();
    let applied = base.store.apply(&base.lease, &[error(&stored)], Timestamp(4)).await.unwrap();
    assert!(matches!(applied[0], Applied::Done(_)), "it is back in its place");
    assert_eq!(base.store.events("a", 10).await.unwrap().len(), 1);
}

/// As with a full disk, which SQLite answers in the same way.
#[tokio::test]
async fn a_database_that_was_full_takes_writes_again() {
    let base = base().await;
    let Db::Sqlite(pool) = &base.store.db else { unreachable!() };
    // The limit is a connection's own, and the pool gives which it likes.
    let mut all = Vec::new();
    for _ in 0..base.settings.max_connections {
        all.push(pool.acquire().await.unwrap());
    }
    for connection in &mut all {
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut **connection).await.unwrap();
    }
    drop(all);
    let mut large = row();
    large.error = Some("x".repeat(100_000));
    let writes = [(None, Write::Insert(Box::new(large)))];
    let full = base.store.apply(&base.lease, &writes, Timestamp(1)).await.unwrap_err();
    assert!(full.chain().contains("full"), "{}", full.chain());
    // A small row fits in without a new page; on whichever connection.
    for _ in 0..base.settings.max_connections {
        let mut small = row();
        small.key.brz_project_id = 7;
        let writes = [(None, Write::Insert(Box::new(small)))];
        base.store.apply(&base.lease, &writes, Timestamp(2)).await.unwrap();
    }
}
