//! What the monitor would do, told by a program that is not the monitor. Writes nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::adoption::{Adopted, Adoption};
use super::handle::{Inspection, RequestError};
use super::observe::{Look, Observer, Rows, Scout};
use super::requests::inspection;
use crate::clock;
use crate::config::Settings;
use crate::domain::migration::Key;
use crate::domain::reconcile::{Decision, Memory, evaluate};
use crate::locks::LockDir;
use crate::process::Processes;
use crate::snapshot::MigrationView;
use crate::store::{Store, StoredMigration};

/// Looks at every lock; where a process is seen dead, a second time `settle` later, as the monitor does.
///
/// # Errors
/// [`RequestError::Off`] without a lock directory, [`RequestError::Locks`] if it cannot be read,
/// [`RequestError::Store`] if the rows cannot.
pub async fn dry_run(
    settings: &Settings,
    store: Option<&Store>,
    processes: &Processes,
) -> Result<Vec<Inspection>, RequestError> {
    let path = settings.migrations.lock_dir.clone().ok_or(RequestError::Off)?;
    let rows: Rows = match store {
        Some(store) => {
            let rows = store.migrations().await.map_err(|e| RequestError::Store(e.chain()))?;
            rows.into_iter().map(|row| (row.row.key.clone(), Arc::new(row))).collect()
        }
        None => Rows::new(),
    };
    let mut rows = Arc::new(rows);
    let mut observer = Observer::new(Scout {
        processes: processes.clone(),
        dir: LockDir::new(path).within(settings.migrations.container.as_deref()),
        settings: settings.migrations.clone(),
        instance: settings.instance.name.clone(),
        sole: store.is_none_or(Store::is_sole),
        live: live(settings, store).await?,
        watched: Arc::default(),
    });
    let mut memory: HashMap<Key, Memory> = HashMap::new();
    let mut look = take_look(&mut observer, &rows)?;
    if remember(&look, Arc::make_mut(&mut rows), &mut memory) {
        // A hair over, so that the second look is not an instant too early.
        tokio::time::sleep(settings.migrations.settle + Duration::from_millis(5)).await;
        look = take_look(&mut observer, &rows)?;
    }
    let adoption = adoption(settings, store).await?;
    let rules = look.rules;
    let mut list: Vec<Inspection> = look
        .seen
        .into_iter()
        .map(|seen| {
            let (key, row) = (seen.key.clone(), row(&rows, &seen.key));
            let memory = memory.get(&key).cloned().unwrap_or_default();
            let now = clock::now();
            let decision = if let Some(adoption) = &adoption {
                adoption.shown(&seen, row.as_ref(), &memory, &rules, now)
            } else {
                let it = evaluate(&key, row.as_ref(), &seen.sight, &memory, &rules, now);
                Decision { remove_lock: it.remove_lock && !settings.adopt.keeps_locks(), ..it }
            };
            inspection(processes, row, seen, decision, &rules, |stored| {
                MigrationView::recorded(stored.row.clone())
            })
        })
        .collect();
    list.sort_by(|a, b| a.view.row.key.cmp(&b.view.row.key));
    Ok(list)
}

fn row(rows: &Rows, key: &Key) -> Option<crate::domain::Migration> {
    rows.get(key).map(|stored| stored.row.clone())
}

fn take_look(observer: &mut Observer, rows: &Arc<Rows>) -> Result<Look, RequestError> {
    // The program has nothing else to do meanwhile.
    let look = tokio::task::block_in_place(|| observer.look(rows));
    match look.whole.as_ref().and_then(|whole| whole.trouble.as_ref()) {
        Some(trouble) => Err(RequestError::Locks(trouble.clone())),
        None => Ok(look),
    }
}

/// Keeps what the first look found, the rows of a first sight too; true if a second look is needed.
fn remember(look: &Look, rows: &mut Rows, memory: &mut HashMap<Key, Memory>) -> bool {
    let now = clock::now();
    for seen in &look.seen {
        let row = row(rows, &seen.key);
        let decision =
            evaluate(&seen.key, row.as_ref(), &seen.sight, &Memory::default(), &look.rules, now);
        memory.insert(seen.key.clone(), decision.memory);
        if let (None, Some(row)) = (row, decision.row) {
            rows.insert(seen.key.clone(), Arc::new(StoredMigration { id: 0, row }));
        }
    }
    memory.values().any(|it| it.dead.is_some() || it.absent.is_some())
}

/// What stands in an adopted table.
async fn adoption(
    settings: &Settings,
    store: Option<&Store>,
) -> Result<Option<Adoption>, RequestError> {
    let (Some(table), Some(store)) = (settings.adopt.migrations(), store) else { return Ok(None) };
    let table = store.their_migrations(table).await;
    let table = Arc::new(table.map_err(|error| RequestError::Store(error.chain()))?);
    let adopted = Adopted { table, writes: settings.adopt.writes() };
    let instance = settings.instance.name.clone();
    let mut adoption = Adoption::new(adopted, instance, settings.migrations.interval);
    adoption.read(store).await;
    Ok(Some(adoption))
}

/// Whose word counts: this instance's, and that of those whose heartbeat holds.
async fn live(
    settings: &Settings,
    store: Option<&Store>,
) -> Result<BTreeSet<String>, RequestError> {
    let mut live = BTreeSet::from([settings.instance.name.clone()]);
    if let Some(store) = store {
        let fleet = store.fleet().await.map_err(|e| RequestError::Store(e.chain()))?;
        let rows = fleet.instances.iter().filter(|row| row.is_live(fleet.now));
        live.extend(rows.map(|row| row.name.clone()));
    }
    Ok(live)
}
