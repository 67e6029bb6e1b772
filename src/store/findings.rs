//! What adoption found: differences between their record and our judgement, and what is to be mended.

use super::db::{Session, args};
use super::{Store, StoreError, single, write};

/// A finding, open as long as it has no end.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Finding {
    /// The instance that found it.
    pub instance: String,
    /// What it is about: `node:ID`, `migration:UUID-ID`, `table:NAME`.
    pub subject: String,
    /// See `domain::adopt::Code`.
    pub code: String,
    /// `difference` or `fault`.
    pub kind: String,
    /// What is seen of theirs.
    pub theirs: String,
    /// What is so by our rules.
    pub ours: String,
    /// The rule, or what to do.
    pub rule: String,
    /// When it was seen first, epoch milliseconds.
    pub since: i64,
    /// When it was seen no more.
    pub until: Option<i64>,
}

pub(super) const ALL: &str = "SELECT instance, subject, code, kind, theirs, ours, rule, since, until \
     FROM procwarden_findings ORDER BY since, subject, code";
pub(super) const UPDATE: &str = "UPDATE procwarden_findings SET kind = ?, theirs = ?, ours = ?, rule = ?, since = ?, until = ? \
     WHERE instance = ? AND subject = ? AND code = ?";
pub(super) const INSERT: &str = "INSERT INTO procwarden_findings (kind, theirs, ours, rule, since, until, instance, subject, \
     code) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
pub(super) const PRUNE: &str =
    "DELETE FROM procwarden_findings WHERE until IS NOT NULL AND until < ?";

pub(super) const END: &str = "UPDATE procwarden_findings SET until = ? WHERE instance = ? AND until IS NULL AND subject LIKE ?";

impl Store {
    /// What an instance left open of subjects that begin with this is over: they are not compared any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn end_findings(
        &self,
        instance: &str,
        begin: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let pattern = format!("{begin}%");
        single!(self, session => session.execute(END, args![now, instance, &pattern])).map(drop)
    }

    /// Everything found, by every instance, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn findings(&self) -> Result<Vec<Finding>, StoreError> {
        single!(self, session => session.all(ALL, &[]))
    }

    /// Writes findings as they are now, and removes those that ended before `keep_after` (epoch milliseconds).
    ///
    /// # Errors
    /// [`StoreError::Database`]: then nothing is written.
    pub async fn record_findings(
        &self,
        findings: &[Finding],
        keep_after: i64,
    ) -> Result<(), StoreError> {
        write!(self, tx => record(tx, findings, keep_after))
    }
}

async fn record(tx: &mut Session, findings: &[Finding], keep_after: i64) -> Result<(), StoreError> {
    for it in findings {
        let values = args![
            &it.kind,
            &it.theirs,
            &it.ours,
            &it.rule,
            it.since,
            it.until,
            &it.instance,
            &it.subject,
            &it.code,
        ];
        if tx.execute(UPDATE, values).await? == 0 {
            tx.execute(INSERT, values).await?;
        }
    }
    tx.execute(PRUNE, args![keep_after]).await.map(drop)
}
