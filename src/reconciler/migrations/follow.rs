//! What other instances record of migrations: read when their row says that they wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::Uptime;
use crate::domain::migration::Migration;
use crate::gauges::Gauges;
use crate::snapshot::{FleetPart, MigrationView, MigrationsPart, Published, Watch};
use crate::store::{Store, StoreError, StoredMigration};

/// How long a database that failed is left alone.
const REST: Duration = Duration::from_secs(1);

/// How far each instance's numbers have been followed.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    seen: BTreeMap<String, i64>,
}

impl Cursors {
    /// From before all rows are read: what is written meanwhile is read again, not missed.
    pub(super) fn at(fleet: &FleetPart) -> Self {
        Self { seen: fleet.instances.iter().map(|it| (it.name.clone(), it.seq)).collect() }
    }

    /// The rows that others wrote since; none if all must be read again: numbers went back, so the database is another.
    pub(super) async fn news(
        &mut self,
        store: &Store,
        fleet: &FleetPart,
    ) -> Result<Option<Vec<StoredMigration>>, StoreError> {
        let next = Self::at(fleet);
        let seen = |name: &str| self.seen.get(name).copied().unwrap_or(0);
        if fleet.instances.iter().any(|it| it.seq < seen(&it.name)) {
            return Ok(None);
        }
        let mut rows = Vec::new();
        for other in fleet.instances.iter().filter(|it| it.name != fleet.here) {
            if other.seq > seen(&other.name) {
                rows.extend(store.migrations_changed(&other.name, seen(&other.name)).await?);
            }
        }
        // Only once all were read; one that was forgotten begins anew.
        *self = next;
        Ok(Some(rows))
    }
}

/// Who watches a row that is not ours.
pub(super) fn watch_of(row: &Migration, live: &BTreeSet<String>) -> Watch {
    if live.contains(&row.instance) { Watch::Recorded } else { Watch::Lost }
}

/// Publishes the record for an instance that has no lock directory, until the token is cancelled.
pub async fn publish_records(
    store: Store,
    published: Arc<Published>,
    store_trouble: Arc<AtomicBool>,
    gauges: Gauges,
    token: CancellationToken,
) {
    let mut known: Option<(Cursors, BTreeMap<i64, StoredMigration>)> = None;
    loop {
        let fleet = Arc::clone(&published.load().fleet);
        if fleet.here.is_empty() {
            // Nobody knows yet who there is: everybody would be shown as lost.
            tokio::select! {
                () = token.cancelled() => return,
                () = published.fleet_news() => continue,
            }
        }
        let result = tokio::select! {
            () = token.cancelled() => return,
            result = read(&store, &fleet, known.take()) => result,
        };
        match result {
            Ok((cursors, rows)) => {
                let live = fleet.live();
                let view = |stored: &StoredMigration| {
                    let mut view = MigrationView::recorded(stored.row.clone());
                    if !fleet.sole {
                        view.watch = watch_of(&stored.row, &live);
                    }
                    Arc::new(view)
                };
                published.publish_migrations(MigrationsPart {
                    migrations: rows.values().map(view).collect(),
                    valid_until: Uptime(i64::MAX),
                    persisted: !store_trouble.load(Ordering::Relaxed),
                    ..MigrationsPart::default()
                });
                known = Some((cursors, rows));
            }
            Err(error) => {
                super::super::trouble::fails(&store_trouble, &gauges, &error);
            }
        }
        // While the database fails nobody has news; then all is read again after a while.
        tokio::select! {
            () = token.cancelled() => return,
            () = published.fleet_news() => {}
            () = tokio::time::sleep(REST), if known.is_none() => {}
        }
    }
}

async fn read(
    store: &Store,
    fleet: &FleetPart,
    known: Option<(Cursors, BTreeMap<i64, StoredMigration>)>,
) -> Result<(Cursors, BTreeMap<i64, StoredMigration>), StoreError> {
    let Some((mut cursors, mut rows)) = known else {
        let cursors = Cursors::at(fleet);
        let rows = store.migrations().await?;
        return Ok((cursors, rows.into_iter().map(|row| (row.id, row)).collect()));
    };
    match cursors.news(store, fleet).await? {
        Some(news) => rows.extend(news.into_iter().map(|row| (row.id, row))),
        None => return Box::pin(read(store, fleet, None)).await,
    }
    Ok((cursors, rows))
}
