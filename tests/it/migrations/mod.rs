//! Migrations with real child processes and lock files.

mod attempts;
mod batch;
mod crowd;
mod directory;
mod files;
mod hidden;
mod life;
mod namespaces;
mod operator;
mod released;
mod reports;
mod reuse;

use std::time::Duration;

use serde_json::Value;

use crate::support::job::{self, Lock};
use crate::support::{Warden, WardenConfig, db};

/// Longest wait for what happens within a second or two.
pub const SOON: Duration = Duration::from_mins(1);

/// A grace that no test outlives: locks are old only where they are backdated.
pub fn long_grace() -> WardenConfig {
    WardenConfig::default().set("migrations.grace", "600s")
}

/// `status state reason run`, as the list shows it; `-` for what is null.
pub fn line(row: &Value) -> String {
    let word = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} run{}", word("status"), word("state"), word("reason"), row["run"])
}

/// Why a process that was seen alive and then killed is dead: the kernel may tell how it ended, or may not.
pub const KILLED: &str = "killed|process_gone";

/// Is it this line, where a word of the pattern may be several with `|` between?
pub fn is_line(line: &str, pattern: &str) -> bool {
    let (words, wanted) = (line.split(' '), pattern.split(' '));
    words.clone().count() == wanted.clone().count()
        && words.zip(wanted).all(|(word, one_of)| one_of.split('|').any(|it| it == word))
}

/// Waits until the list shows this of a migration; see [`is_line`].
pub async fn wait(warden: &Warden, id: i64, expected: &str) -> Value {
    let path = format!("/migrations?brz_project_id={id}");
    warden
        .until(&path, SOON, |answer| {
            let row = &answer.json["data"][0];
            is_line(&line(row), expected).then(|| row.clone())
        })
        .await
}

/// What the list shows of a migration now.
pub async fn shown(warden: &Warden, id: i64) -> String {
    let answer = warden.get(&format!("/migrations?brz_project_id={id}")).await;
    line(&answer.json["data"][0])
}

/// Waits until two looks have passed that began after this call: an old dead lock has become an error meanwhile.
///
/// What did not happen until then is held not to happen.
pub async fn ticks_pass(warden: &Warden) {
    static NEXT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(9_000_001);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(id, dead).ago(9000).write(&warden.lock_dir());
    wait(warden, id, "error finished process_gone run1").await;
    gone(&path).await;
}

/// Waits until a lock is removed.
pub async fn gone(path: &std::path::Path) {
    crate::support::eventually(SOON, || async {
        if path.exists() { Err(format!("{} stands", path.display())) } else { Ok(()) }
    })
    .await;
}

/// The recorded row of a migration.
pub fn row(warden: &Warden, id: i64) -> Value {
    let rows = db::migrations(warden.database());
    rows.into_iter().find(|row| row["brz_project_id"] == id).expect("a row")
}

/// Who said the status of a migration.
pub fn source(warden: &Warden, id: i64) -> String {
    row(warden, id)["status_source"].as_str().unwrap_or("-").to_owned()
}

/// `run:status` of each event of a migration, in order.
pub fn events(warden: &Warden, id: i64) -> Vec<String> {
    let name = job::uuid(id);
    let events = db::events_of(warden.database(), "migration");
    let its = events.iter().filter(|event| event["name"] == name.as_str());
    its.map(|event| format!("{}:{}", event["run"], event["status"].as_str().unwrap_or("-")))
        .collect()
}
