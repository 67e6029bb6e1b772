//! What of a migration is worth telling, how it reads, and how long is waited after failures.

use std::time::Duration;

use crate::domain::alert::{Kind, News, Status, Subject, of_migration, pause};
use crate::domain::alert_text::{body, summary};
use crate::domain::migration::{Key, Migration, State, Status as Recorded};
use crate::domain::process::Here;
use crate::domain::reconcile::{Basis, Rules, Scope, first_row};
use crate::domain::{Now, Timestamp};

fn row(status: Recorded, state: State, run: i64) -> Migration {
    let rules = Rules {
        grace: Duration::ZERO,
        settle: Duration::ZERO,
        stall_after: None,
        scope: Scope::Local,
        here: Here::default(),
        instance: "a".into(),
        sole: true,
        live: std::collections::BTreeSet::new(),
    };
    let key = Key { mb_project_uuid: "u".into(), brz_project_id: 7 };
    Migration { status, state, run, ..first_row(&key, &rules, Now::default()) }
}

#[test]
fn each_turn_of_a_migration_is_told_once() {
    use Kind::{MigrationError as Error, MigrationStalled as Stalled};
    use Recorded::{Completed, InProgress};
    use State::{Alive, Finished};
    use Status::{Firing, Resolved};
    let failed = (Recorded::Error, Finished);
    let stalled = (InProgress, State::Stalled);
    let table: [(_, _, _, &[(Kind, Status)]); 9] = [
        ((InProgress, Alive), failed, 1, &[(Error, Firing)]),
        (failed, (InProgress, Alive), 2, &[(Error, Resolved)]),
        (failed, failed, 2, &[(Error, Resolved), (Error, Firing)]),
        (failed, failed, 1, &[]),
        ((InProgress, Alive), (Completed, Finished), 1, &[]),
        ((InProgress, Alive), stalled, 1, &[(Stalled, Firing)]),
        (stalled, (InProgress, Alive), 1, &[(Stalled, Resolved)]),
        (stalled, failed, 1, &[(Stalled, Resolved), (Error, Firing)]),
        (stalled, stalled, 1, &[]),
    ];
    for ((was, was_state), (is, state), run, expected) in table {
        let basis = Basis::of(&row(was, was_state, 1));
        let news = of_migration(Some(&basis), &row(is, state, run));
        let told: Vec<_> = news.iter().map(|it| (it.kind, it.status)).collect();
        assert_eq!(told, expected, "{was} {was_state} -> {is} {state}");
    }
    let born = of_migration(None, &row(Recorded::Error, Finished, 1));
    assert_eq!(born.len(), 1, "reported before it was ever seen");
}

fn node(name: &str, status: Status) -> News {
    News {
        kind: Kind::NodeDown,
        status,
        subject: Subject::Node {
            id: 1,
            name: name.into(),
            title: Some("T".into()),
            address: "h:1".into(),
        },
        state: "down",
        reason: Some("io".into()),
        message: Some("m".into()),
    }
}

#[test]
fn a_message_is_summed_up_in_a_line() {
    let made = |news: News| news.at(Timestamp(0), "a:1:0".into(), "a");
    let one = [made(node("n", Status::Firing))];
    assert_eq!(summary(&one), "node 'n' down: io");
    assert_eq!(summary(&[made(node("n", Status::Resolved))]), "node 'n' no longer down");
    for state in ["disabled", "deleted"] {
        let gone = [made(News { state, ..node("n", Status::Resolved) })];
        assert_eq!(summary(&gone), format!("node 'n' {state}"));
        assert!(body(&gone).ends_with(&format!("at h:1: {state}\n\n")), "{}", body(&gone));
    }
    let mut many: Vec<_> =
        (0..50).map(|nth| made(node(&nth.to_string(), Status::Firing))).collect();
    many.push(made(node("n", Status::Resolved)));
    assert_eq!(summary(&many), "50 nodes down, 1 node no longer down");
    let long = [made(node(&"x".repeat(4096), Status::Firing))];
    assert!(summary(&long).chars().count() < 120);
    let text = body(&one);
    assert_eq!(text, "1 node down:\n  1970-01-01T00:00:00+00:00  n \"T\" at h:1: io: m\n\n");
}

#[test]
fn pauses_double_up_to_five_minutes() {
    let secs = [1, 2, 3, 9, 10, 1000].map(|failures| pause(failures).as_secs());
    assert_eq!(secs, [1, 2, 4, 256, 300, 300]);
}
