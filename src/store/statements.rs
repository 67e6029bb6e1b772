//! Every statement of the store in one list, so that a server can be asked whether it understands them all.

use super::db::Session;
use super::{Engine, Store, StoreError, dialect, single, verdict_statements};
use super::{
    alerts, events, findings, fleet, history, instances, keys, migration_update, migrations,
    node_reads, nodes, outbox, schema,
};

/// Name and text of each.
const ALL: &[(&str, &str)] = &[
    ("alerts::TURNED_DOWN", alerts::TURNED_DOWN),
    ("alerts::MARK_TURNED_DOWN", alerts::MARK_TURNED_DOWN),
    ("alerts::TURNED_UP", alerts::TURNED_UP),
    ("alerts::MARK_TURNED_UP", alerts::MARK_TURNED_UP),
    ("alerts::STANDS_DOWN", alerts::STANDS_DOWN),
    ("alerts::MARK_DOWN", alerts::MARK_DOWN),
    ("alerts::IS_OVER", alerts::IS_OVER),
    ("alerts::MARK_OVER", alerts::MARK_OVER),
    ("alerts::GONE", alerts::GONE),
    ("alerts::MARK_GONE", alerts::MARK_GONE),
    ("alerts::MARK_LOST", alerts::MARK_LOST),
    ("alerts::MARK_BACK", alerts::MARK_BACK),
    ("events::NEXT_SEQ", events::NEXT_SEQ),
    ("events::READ_SEQ", events::READ_SEQ),
    ("events::LAST", events::LAST),
    ("events::AFTER", events::AFTER),
    ("events::COUNT", events::COUNT),
    ("events::SEQS", events::SEQS),
    ("events::LAST_BEFORE", events::LAST_BEFORE),
    ("findings::ALL", findings::ALL),
    ("findings::UPDATE", findings::UPDATE),
    ("findings::INSERT", findings::INSERT),
    ("findings::PRUNE", findings::PRUNE),
    ("findings::END", findings::END),
    ("fleet::FLEET", fleet::FLEET),
    ("fleet::CLAIMED", fleet::CLAIMED),
    ("fleet::FORGET", fleet::FORGET),
    ("fleet::IS_THERE", fleet::IS_THERE),
    ("fleet::DROP_FINDINGS", fleet::DROP_FINDINGS),
    ("fleet::RELEASE_NODES", fleet::RELEASE_NODES),
    ("fleet::MOVE_PLACED", fleet::MOVE_PLACED),
    ("fleet::MOVE_REGISTERED", fleet::MOVE_REGISTERED),
    ("fleet::MOVE_OWNED", fleet::MOVE_OWNED),
    ("history::OF_SUBJECT", history::OF_SUBJECT),
    ("history::STATES", history::STATES),
    ("history::STATE_BEFORE", history::STATE_BEFORE),
    ("history::RECORDED", history::RECORDED),
    ("history::WATCHES", history::WATCHES),
    ("history::WATCH_ON", history::WATCH_ON),
    ("history::WATCH_ANEW", history::WATCH_ANEW),
    ("history::OLD", history::OLD),
    ("history::DROP_EVENT", history::DROP_EVENT),
    ("history::DROP_WATCHES", history::DROP_WATCHES),
    ("instances::FIRST_SEQ", instances::FIRST_SEQ),
    ("instances::INSERT", instances::INSERT),
    ("instances::EPOCH", instances::EPOCH),
    ("instances::TAKE", instances::TAKE),
    ("instances::BEAT", instances::BEAT),
    ("instances::RELEASE", instances::RELEASE),
    ("migrations::ALL", migrations::ALL),
    ("migrations::CHANGED", migrations::CHANGED),
    ("migrations::INSERT", migrations::INSERT),
    ("migrations::ID_OF", migrations::ID_OF),
    ("migration_update::WRITTEN", migration_update::WRITTEN),
    ("keys::UNSEALED", keys::UNSEALED),
    ("keys::RESEAL", keys::RESEAL),
    ("nodes::ALL", nodes::ALL),
    ("nodes::BY_ID", nodes::BY_ID),
    ("nodes::BY_NAME", nodes::BY_NAME),
    ("node_reads::CHANGED", node_reads::CHANGED),
    ("node_reads::OF_CONFIG", node_reads::OF_CONFIG),
    ("node_reads::ADOPTED", node_reads::ADOPTED),
    ("node_reads::VERSIONS", node_reads::VERSIONS),
    ("nodes::REVISION", nodes::REVISION),
    ("nodes::BUMP", nodes::BUMP),
    ("nodes::INSERT", nodes::INSERT),
    ("nodes::INSERT_AS", nodes::INSERT_AS),
    ("nodes::COUNT_OWN", nodes::COUNT_OWN),
    ("nodes::ID_OF", nodes::ID_OF),
    ("nodes::UPDATE", nodes::UPDATE),
    ("nodes::RESET", nodes::RESET),
    ("nodes::SET_PASSWORD", nodes::SET_PASSWORD),
    ("nodes::DELETE", nodes::DELETE),
    ("outbox::INSERT", outbox::INSERT),
    ("outbox::DUE", outbox::DUE),
    ("outbox::TAKE", outbox::TAKE),
    ("outbox::NEW_DUE", outbox::NEW_DUE),
    ("outbox::NEW", outbox::NEW),
    ("outbox::GROUP", outbox::GROUP),
    ("outbox::READ", outbox::READ),
    ("outbox::AGAIN", outbox::AGAIN),
    ("outbox::DONE", outbox::DONE),
    ("outbox::OLD", outbox::OLD),
    ("outbox::DROP", outbox::DROP),
    ("schema::NEWEST", schema::NEWEST),
];

type PerEngine = fn(Engine) -> &'static str;

/// Name and text of those that differ from engine to engine.
const PER_ENGINE: &[(&str, PerEngine)] = &[
    ("dialect::schema_tables", dialect::schema_tables),
    ("verdict_statements::record", verdict_statements::record),
    ("dialect::update_migrations", dialect::update_migrations),
    ("dialect::claim", dialect::claim),
    ("node_reads::by_ids", node_reads::by_ids),
    ("node_reads::by_names", node_reads::by_names),
    ("dialect::insert_events", dialect::insert_events),
    ("dialect::outbox_state", dialect::outbox_state),
];

impl Store {
    /// Lets the server prepare every statement that this program uses; none is run. Gives their number.
    ///
    /// # Errors
    /// [`StoreError::Statement`] for the first one that the server does not take.
    pub async fn verify(&self) -> Result<usize, StoreError> {
        let own = PER_ENGINE.iter().map(|(name, text)| (*name, text(self.engine())));
        let mut count = 0;
        for (name, text) in ALL.iter().copied().chain(own) {
            single!(self, session => prepare(session, text))
                .map_err(|error| StoreError::Statement { name, source: Box::new(error) })?;
            count += 1;
        }
        Ok(count)
    }
}

async fn prepare(session: &mut Session, text: &'static str) -> Result<(), StoreError> {
    session.prepare(text).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Database;
    use crate::domain::node::Password;
    use crate::store::Open;

    /// The servers are asked in the integration tests.
    #[tokio::test]
    async fn sqlite_takes_every_statement() {
        let dir = tempfile::tempdir().unwrap();
        let url = Password::new(format!("sqlite://{}", dir.path().join("p.db").display()));
        let settings = Database { url, ..Database::default() };
        let store = Store::open(&settings, Open::Create).await.unwrap();
        assert_eq!(store.verify().await.unwrap(), ALL.len() + PER_ENGINE.len());
    }

    #[test]
    fn no_statement_is_left_out() {
        let mut missing = Vec::new();
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")).unwrap() {
            let path = file.unwrap().path();
            let module = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("pub(super) const ").skip(1).filter_map(|rest| {
                let (name, kind) = rest.split_once(": ").filter(|(name, _)| !name.contains(' '))?;
                kind.starts_with("&str").then(|| format!("{module}::{name}"))
            });
            missing.extend(names.filter(|name| !ALL.iter().any(|(known, _)| known == name)));
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
