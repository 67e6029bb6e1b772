//! Two hundred stale locks of an earlier life at first start.

use std::collections::BTreeSet;

use super::{SOON, long_grace};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, db};

const MANY: i64 = 200;

#[tokio::test]
async fn they_are_judged_in_one_batch() {
    let mut warden = Warden::prepare(long_grace());
    let dir = warden.lock_dir();
    let dead = job::dead_pid(warden.dir());
    for id in 1..=MANY {
        Lock::new(id, dead).ago(9000).write(&dir);
    }
    let live = Program::sleeper(warden.dir());
    let kept = Lock::new(MANY + 1, live.pid()).started_ago(9000).write(&dir);
    warden.launch();
    warden.ready().await;
    warden
        .until("/migrations?status=error", SOON, |answer| {
            (answer.json["count"] == MANY).then_some(())
        })
        .await;
    crate::support::eventually(SOON, || async {
        let left = std::fs::read_dir(&dir).unwrap().count();
        if left == 1 { Ok(()) } else { Err(format!("{left} files left")) }
    })
    .await;
    assert!(kept.exists());
    let events = db::events_of(warden.database(), "migration");
    assert_eq!(i64::try_from(events.len()).unwrap(), MANY);
    let names: BTreeSet<_> = events.iter().map(|event| event["name"].to_string()).collect();
    assert_eq!(names.len(), events.len(), "one each");
    let times: BTreeSet<_> = events.iter().map(|event| event["at"].to_string()).collect();
    assert_eq!(times.len(), 1, "one batch has one time");
}
