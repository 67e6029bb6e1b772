//! What is told: alerts, made in the transaction that writes what they tell of.
//!
//! That a node is told to be down is kept in its row (`alerted`), so that it is told once, and its return only if that
//! was. An instance's loss likewise. A migration tells by itself: it turns to `error` or stalls in one write.

use super::db::{Session, args};
use super::events::next_seq;
use super::verdicts::VerdictWrite;
use super::{Lease, Store, StoreError, outbox, write};
use crate::domain::Timestamp;
use crate::domain::alert::{Alert, Kind, News, Rules, Status, Subject};
use crate::domain::verdict::State;
use crate::mask::mask_prose;

/// Nodes that one look at what stands tells of at most; the next look tells of the others.
const AT_ONCE: i64 = 200;

/// The columns of [`NodeRow`].
macro_rules! nodes {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, title, host, port, available, state, reason, message, writer FROM procwarden_nodes WHERE ",
            $rest
        )
    };
}

pub(super) const TURNED_DOWN: &str = nodes!(
    "writer = ? AND change_seq = ? AND state = 'down' AND available = 1 AND alerted IS NULL \
     AND (maintenance_until IS NULL OR maintenance_until <= ?) ORDER BY id"
);
pub(super) const MARK_TURNED_DOWN: &str = "UPDATE procwarden_nodes SET alerted = ? WHERE writer = ? AND change_seq = ? \
     AND state = 'down' AND available = 1 AND alerted IS NULL \
     AND (maintenance_until IS NULL OR maintenance_until <= ?)";
pub(super) const TURNED_UP: &str = nodes!(
    "writer = ? AND change_seq = ? AND state = 'up' AND alerted IS NOT NULL \
     AND (maintenance_until IS NULL OR maintenance_until <= ?) ORDER BY id"
);
pub(super) const MARK_TURNED_UP: &str = "UPDATE procwarden_nodes SET alerted = NULL WHERE writer = ? AND change_seq = ? \
     AND state = 'up' AND alerted IS NOT NULL AND (maintenance_until IS NULL OR maintenance_until <= ?)";
pub(super) const STANDS_DOWN: &str = nodes!(
    "state = 'down' AND available = 1 AND alerted IS NULL \
     AND (maintenance_until IS NULL OR maintenance_until <= ?) ORDER BY id LIMIT ?"
);
pub(super) const MARK_DOWN: &str = "UPDATE procwarden_nodes SET alerted = ? WHERE id = ? AND state = 'down' \
     AND available = 1 AND alerted IS NULL AND (maintenance_until IS NULL OR maintenance_until <= ?)";
pub(super) const IS_OVER: &str = nodes!(
    "alerted IS NOT NULL AND (state = 'up' OR available = 0) \
     AND (maintenance_until IS NULL OR maintenance_until <= ?) ORDER BY id LIMIT ?"
);
pub(super) const MARK_OVER: &str = "UPDATE procwarden_nodes SET alerted = NULL WHERE id = ? AND alerted IS NOT NULL \
     AND (state = 'up' OR available = 0) AND (maintenance_until IS NULL OR maintenance_until <= ?)";
pub(super) const GONE: &str = nodes!("id = ?");
pub(super) const MARK_GONE: &str =
    "UPDATE procwarden_nodes SET alerted = NULL WHERE id = ? AND alerted IS NOT NULL";
pub(super) const MARK_LOST: &str = "UPDATE procwarden_instances SET alerted = NOW_MS() WHERE name = ? AND alerted IS NULL \
     AND expires_at <= NOW_MS()";
pub(super) const MARK_BACK: &str = "UPDATE procwarden_instances SET alerted = NULL WHERE name = ? AND alerted IS NOT NULL \
     AND expires_at > NOW_MS()";

/// What an instance is, as those that may judge see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// It is lost; else it is back.
    pub lost: bool,
}

#[derive(sqlx::FromRow)]
struct NodeRow {
    id: i64,
    name: String,
    title: Option<String>,
    host: String,
    port: i64,
    available: i64,
    state: String,
    reason: Option<String>,
    message: String,
    writer: Option<String>,
}

impl NodeRow {
    fn news(self, status: Status) -> News {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host };
        let state = if self.available == 0 { State::Disabled } else { State::parse(&self.state) };
        News {
            kind: Kind::NodeDown,
            status,
            subject: Subject::Node {
                id: self.id,
                name: self.name,
                title: self.title,
                address: format!("{host}:{}", self.port),
            },
            state: state.as_str(),
            reason: self.reason,
            message: Some(self.message),
        }
    }
}

/// What of the verdicts that were just written with the number `seq` is to be told.
pub(super) async fn of_verdicts(
    tx: &mut Session,
    rules: &Rules,
    writer: &str,
    (seq, now): (i64, Timestamp),
    writes: &[VerdictWrite],
) -> Result<(), StoreError> {
    if !rules.wants(Kind::NodeDown) {
        return Ok(());
    }
    let has = |state: State| writes.iter().any(|it| it.verdict.state == state);
    let mut news = Vec::new();
    // The rows are locked: they were written in this transaction. So both statements mean the same ones.
    if has(State::Down) {
        let rows: Vec<NodeRow> = tx.all(TURNED_DOWN, args![writer, seq, now.0]).await?;
        if !rows.is_empty() {
            tx.execute(MARK_TURNED_DOWN, args![now.0, writer, seq, now.0]).await?;
        }
        news.extend(rows.into_iter().map(|row| row.news(Status::Firing)));
    }
    if has(State::Up) {
        let rows: Vec<NodeRow> = tx.all(TURNED_UP, args![writer, seq, now.0]).await?;
        if !rows.is_empty() {
            tx.execute(MARK_TURNED_UP, args![writer, seq, now.0]).await?;
        }
        news.extend(rows.into_iter().map(|row| row.news(Status::Resolved)));
    }
    tell(tx, rules, (writer, seq), now, news).await
}

/// A node is about to be removed: nothing later would tell that what was told of it is over.
pub(super) async fn of_removal(
    tx: &mut Session,
    rules: &Rules,
    id: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The mark is taken first: it locks the row, so that nobody else tells it too.
    if !rules.wants(Kind::NodeDown) || tx.execute(MARK_GONE, args![id]).await? == 0 {
        return Ok(());
    }
    let Some(mut row) = tx.first::<NodeRow>(GONE, args![id]).await? else { return Ok(()) };
    // Whoever removes it has no lease, so the instance that saw it last tells; no node's id comes twice.
    let writer = row.writer.take().unwrap_or_default();
    let mut news = row.news(Status::Resolved);
    news.state = "deleted";
    let alerts = told(&format!("deleted:{id}"), &writer, now, vec![news]);
    outbox::put(tx, rules, (&writer, 0), &alerts).await
}

/// Puts into the outbox what is wanted of it; once for each channel.
pub(super) async fn tell(
    tx: &mut Session,
    rules: &Rules,
    (writer, seq): (&str, i64),
    now: Timestamp,
    mut news: Vec<News>,
) -> Result<(), StoreError> {
    news.retain(|it| rules.wants(it.kind));
    let alerts = told(&format!("{writer}:{seq}"), writer, now, news);
    outbox::put(tx, rules, (writer, seq), &alerts).await
}

/// As they are sent; their ids begin with `id`.
fn told(id: &str, instance: &str, now: Timestamp, news: Vec<News>) -> Vec<Alert> {
    news.into_iter()
        .enumerate()
        .map(|(nth, mut news)| {
            // What leaves the machine is masked, as it is where it is shown.
            news.message = news.message.as_deref().map(mask_prose);
            news.at(now, format!("{id}:{nth}"), instance)
        })
        .collect()
}

impl Store {
    /// Tells of what nothing was written about when it should have been told: nodes that are down since before they were
    /// told of (their maintenance is over, alerts are new here), that are up or disabled since; instances that are lost or
    /// back. True if something was.
    ///
    /// # Errors
    /// [`StoreError::LostName`], [`StoreError::Database`]: then nothing is told.
    pub async fn tell_standing(
        &self,
        lease: &Lease,
        instances: &[Standing],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        write!(self, tx => standing(tx, &self.alerts, lease, instances, now))
    }

    /// Are alerts made here?
    #[must_use]
    pub fn makes_alerts(&self) -> bool {
        self.alerts.wants_any()
    }
}

async fn standing(
    tx: &mut Session,
    rules: &Rules,
    lease: &Lease,
    instances: &[Standing],
    now: Timestamp,
) -> Result<bool, StoreError> {
    // Without a lock: what is found is marked only if it is still so.
    let (mut down, mut over) = (Vec::new(), Vec::new());
    if rules.wants(Kind::NodeDown) {
        down = tx.all::<NodeRow>(STANDS_DOWN, args![now.0, AT_ONCE]).await?;
        over = tx.all::<NodeRow>(IS_OVER, args![now.0, AT_ONCE]).await?;
    }
    let instances = if rules.wants(Kind::InstanceLost) { instances } else { &[] };
    if down.is_empty() && over.is_empty() && instances.is_empty() {
        return Ok(false);
    }
    let seq = next_seq(tx, lease, 1).await?;
    let mut news = Vec::new();
    for it in instances {
        let mark = if it.lost { MARK_LOST } else { MARK_BACK };
        if tx.execute(mark, args![&it.name]).await? == 1 {
            news.push(of_instance(it));
        }
    }
    for row in down {
        if tx.execute(MARK_DOWN, args![now.0, row.id, now.0]).await? == 1 {
            news.push(row.news(Status::Firing));
        }
    }
    for row in over {
        if tx.execute(MARK_OVER, args![row.id, now.0]).await? == 1 {
            news.push(row.news(Status::Resolved));
        }
    }
    let told = !news.is_empty();
    tell(tx, rules, (&lease.name, seq), now, news).await?;
    Ok(told)
}

fn of_instance(it: &Standing) -> News {
    let (status, state, message) = if it.lost {
        (Status::Firing, "lost", "Nobody watches what it alone could see")
    } else {
        (Status::Resolved, "live", "It watches again")
    };
    News {
        kind: Kind::InstanceLost,
        status,
        subject: Subject::Instance { name: it.name.clone() },
        state,
        reason: None,
        message: Some(message.to_owned()),
    }
}
