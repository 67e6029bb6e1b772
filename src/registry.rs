//! The registry: nodes as their operator edits them. Used by HTTP, the command line and the configuration.

mod batch;
mod mirror;
mod patch;

use std::collections::{HashMap, HashSet};

use crate::checker::Checker;
use crate::clock;
use crate::config::{NodeEntry, TableName};
use crate::domain::fleet::Placement;
use crate::domain::node::Node;
use crate::reconciler::nodes::Handle;
use crate::store::{NewNode, NodeWrite, Origin, Store, StoreError, StoredNode};

pub use batch::Batched;
pub use patch::NodePatch;
pub(crate) use patch::check;
use patch::{merged, missing, ours_of, patch_of};

/// How often the registry is read again because others inserted what the configuration brings.
const DUPLICATES: u32 = 8;

/// Why the registry was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A field breaks its rule.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong, with what is allowed.
        problem: String,
    },
    /// There is no such node.
    #[error("no node '{0}'")]
    NotFound(String),
    /// It belongs to a table that is not ours; the text says what is to be done there.
    #[error("{0}")]
    Adopted(String),
    /// The database refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Validates, writes, and wakes whoever works with nodes.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    checker: Checker,
    instance: String,
    reconciler: Option<Handle>,
    /// Whose nodes they are, if not ours.
    table: Option<TableName>,
}

impl Registry {
    /// A registry for a process in which no reconciler runs.
    #[must_use]
    pub fn new(store: Store, checker: Checker, instance: String) -> Self {
        Self { store, checker, instance, reconciler: None, table: None }
    }

    /// The same, waking this process's node reconciler after each write.
    #[must_use]
    pub fn waking(self, reconciler: Handle) -> Self {
        Self { reconciler: Some(reconciler), ..self }
    }

    /// The same, of nodes that are mirrored from this table: none is made or removed here.
    #[must_use]
    pub fn adopting(self, table: Option<TableName>) -> Self {
        Self { table, ..self }
    }

    /// The instance that new nodes are registered with.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Every node.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub async fn list(&self) -> Result<Vec<StoredNode>, RegistryError> {
        Ok(self.store.nodes().await?)
    }

    /// A node by its id (digits) or its name.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Store`].
    pub async fn get(&self, id_or_name: &str) -> Result<StoredNode, RegistryError> {
        self.store
            .node(parse_id(id_or_name), id_or_name)
            .await?
            .ok_or_else(|| RegistryError::NotFound(id_or_name.to_owned()))
    }

    /// Makes a node.
    ///
    /// # Errors
    /// [`RegistryError::Adopted`], [`RegistryError::Invalid`], a duplicate name as [`StoreError::DuplicateName`].
    pub async fn create(&self, patch: NodePatch) -> Result<StoredNode, RegistryError> {
        if let Some(table) = &self.table {
            let problem = format!("the nodes are those of {table} (adopt.nodes): make it there");
            return Err(RegistryError::Adopted(problem));
        }
        let new = NodeWrite::Insert(self.new_node(patch, Origin::User)?);
        let written = self.store.write_nodes(&[new], clock::now().wall).await?;
        self.changed().await;
        let id = written.first().copied().flatten().unwrap_or_default();
        self.get(&id.to_string()).await
    }

    /// Changes a node; ends its kept connection.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Invalid`], [`RegistryError::Adopted`] for what stands in a table that
    /// is not ours, a duplicate name as [`StoreError::DuplicateName`].
    pub async fn update(
        &self,
        id_or_name: &str,
        patch: NodePatch,
    ) -> Result<StoredNode, RegistryError> {
        let before = self.get(id_or_name).await?;
        let patch = if before.origin == Origin::Adopted { ours_of(patch)? } else { patch };
        self.write(&before, patch).await?;
        self.changed().await;
        self.get(&before.node.id.to_string()).await
    }

    /// Removes a node; ends its kept connection.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Adopted`], [`RegistryError::Store`].
    pub async fn delete(&self, id_or_name: &str) -> Result<StoredNode, RegistryError> {
        let before = self.get(id_or_name).await?;
        if before.origin == Origin::Adopted {
            let (name, whose) = (&before.node.name, self.whose());
            let problem = format!("node '{name}' is one of {whose} (adopt.nodes): remove it there");
            return Err(RegistryError::Adopted(problem));
        }
        let delete = NodeWrite::Delete(before.node.id);
        if self.store.write_nodes(&[delete], clock::now().wall).await? == [None] {
            return Err(RegistryError::NotFound(id_or_name.to_owned()));
        }
        self.checker.reset(before.node.id);
        self.changed().await;
        Ok(before)
    }

    /// Brings the registry in line with `[[node]]`, in one transaction: keys in the file win, except `available` of a
    /// node that exists. A node that left the file stays, unless `prune` removes what the file once brought, this
    /// instance's or that of one that there is no more.
    ///
    /// # Errors
    /// The first node's that cannot be written; then nothing is.
    pub async fn apply_config(
        &self,
        entries: &[NodeEntry],
        prune: bool,
    ) -> Result<(), RegistryError> {
        // A start with many nodes and none of them configured reads none here.
        if entries.is_empty() && !prune {
            return Ok(());
        }
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let (mut wrote, mut tries) = (false, DUPLICATES);
        let others = if prune { self.others().await? } else { HashSet::new() };
        loop {
            let mut existing = self.store.nodes_by_name(&names).await?;
            if prune {
                existing.extend(self.store.nodes_of_config().await?);
            }
            let writes = self.plan(&existing, entries, prune.then_some(&others))?;
            if !wrote {
                self.tell_of_strangers(&existing, &names);
            }
            if writes.is_empty() {
                break;
            }
            let written = match self.store.write_nodes(&writes, clock::now().wall).await {
                // Another instance starts with the same entries: its nodes are there at the next look.
                Err(StoreError::DuplicateName(_)) if tries > 0 => {
                    tries -= 1;
                    continue;
                }
                written => written?,
            };
            written.iter().flatten().for_each(|id| self.checker.reset(*id));
            wrote = true;
            // A node that somebody else wrote in between is planned anew.
            if written.iter().all(Option::is_some) {
                break;
            }
        }
        if wrote {
            self.changed().await;
        }
        Ok(())
    }

    /// A configured node that bears the name of another host's own one is that one's: it is not looked at here.
    fn tell_of_strangers(&self, existing: &[StoredNode], names: &[&str]) {
        if self.store.is_sole() {
            return;
        }
        let configured = existing.iter().filter(|it| names.contains(&it.node.name.as_str()));
        for it in configured.filter(|it| it.node.placement.is_none()) {
            if let Placement::On(owner) = Placement::of(&it.node)
                && owner != self.instance
            {
                let node = &it.node.name;
                tracing::warn!(
                    %node,
                    owner,
                    "this [[node]] is another instance's: give each host's own node a name of its own"
                );
            }
        }
    }

    /// The other instances, by name: what their files brought is for them to remove.
    async fn others(&self) -> Result<HashSet<String>, StoreError> {
        if self.store.is_sole() {
            return Ok(HashSet::new());
        }
        let names = self.store.fleet().await?.instances.into_iter().map(|row| row.name);
        Ok(names.filter(|name| *name != self.instance).collect())
    }

    /// The writes that bring what exists in line with the entries; `prune`, where wanted, with the others' names.
    fn plan(
        &self,
        existing: &[StoredNode],
        entries: &[NodeEntry],
        prune: Option<&HashSet<String>>,
    ) -> Result<Vec<NodeWrite>, RegistryError> {
        let by_name: HashMap<&str, &StoredNode> =
            existing.iter().map(|it| (it.node.name.as_str(), it)).collect();
        let mut writes = Vec::new();
        for entry in entries {
            writes.extend(match by_name.get(entry.name.as_str()) {
                Some(it) if it.origin == Origin::Adopted => {
                    let (name, whose) = (&entry.name, self.whose());
                    let problem = format!("'{name}' is a node of {whose} (adopt.nodes) already");
                    return Err(RegistryError::Adopted(problem));
                }
                Some(it) => edit(it, patch_of(entry, false))?,
                None => {
                    Some(NodeWrite::Insert(self.new_node(patch_of(entry, true), Origin::Config)?))
                }
            });
        }
        if let Some(others) = prune {
            let named: HashSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            let left = existing.iter().filter(|it| it.origin == Origin::Config);
            let left = left.filter(|it| !others.contains(&it.node.instance));
            let left = left.filter(|it| !named.contains(it.node.name.as_str()));
            writes.extend(left.map(|it| NodeWrite::Delete(it.node.id)));
        }
        Ok(writes)
    }

    fn new_node(&self, patch: NodePatch, origin: Origin) -> Result<NewNode, RegistryError> {
        let name = patch.name.clone().ok_or_else(|| missing("name"))?;
        let port = patch.port.ok_or_else(|| missing("port"))?;
        let blank = Node::new(name, "127.0.0.1", port, self.instance.as_str());
        let node = merged(&blank, patch)?;
        let owner = match Placement::of(&node) {
            Placement::On(name) => name.to_owned(),
            Placement::Any => self.instance.clone(),
        };
        Ok(NewNode { node, origin, owner })
    }

    /// Writes what differs; true if something did. A node that was written meanwhile is read again, so that what the
    /// patch leaves alone stays as it is there.
    async fn write(&self, before: &StoredNode, patch: NodePatch) -> Result<bool, RegistryError> {
        let id = before.node.id;
        let mut before = before.clone();
        while let Some(write) = edit(&before, patch.clone())? {
            if self.store.write_nodes(&[write], clock::now().wall).await? != [None] {
                self.checker.reset(id);
                return Ok(true);
            }
            // Ends with `NotFound` for a node that was removed; otherwise somebody else's write was done.
            before = self.get(&id.to_string()).await?;
        }
        Ok(false)
    }

    fn whose(&self) -> String {
        self.table.as_ref().map_or_else(|| "another table".to_owned(), TableName::to_string)
    }

    async fn changed(&self) {
        if let Some(reconciler) = &self.reconciler {
            reconciler.reload().await;
        }
    }
}

/// The id that digits are; names are never all digits.
#[must_use]
pub fn parse_id(id_or_name: &str) -> Option<i64> {
    let digits = !id_or_name.is_empty() && id_or_name.bytes().all(|b| b.is_ascii_digit());
    // An id too large for the column is no node's: -1 is never given.
    digits.then(|| id_or_name.parse().unwrap_or(-1))
}

/// The write that a patch comes to; `None` if it changes nothing.
fn edit(before: &StoredNode, patch: NodePatch) -> Result<Option<NodeWrite>, RegistryError> {
    let node = merged(&before.node, patch)?;
    let reset = !node.same_target(&before.node);
    let differs = node != before.node;
    Ok(differs.then_some(NodeWrite::Update { node, version: before.version, reset }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Settings;
    use crate::domain::node::ANY;
    use crate::domain::node::Password;
    use crate::monitor::Monitor;
    use crate::store::Open;

    fn node() -> Node {
        Node { id: 1, ..Node::new("a", "127.0.0.1", 1, "here") }
    }

    /// A body of PATCH, as HTTP reads it.
    fn patch(body: &serde_json::Value) -> NodePatch {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn a_placement_is_given_kept_and_cleared() {
        let given = merged(&node(), patch(&json!({"instance": "host-2"}))).unwrap();
        assert_eq!(given.placement.as_deref(), Some("host-2"));
        assert_eq!(given.instance, "here", "whom it was registered with stays");
        let kept = merged(&given, patch(&json!({"title": "t"}))).unwrap();
        assert_eq!(kept.placement.as_deref(), Some("host-2"));
        let any = merged(&given, patch(&json!({"instance": "any"}))).unwrap();
        assert_eq!(any.placement.as_deref(), Some(ANY));
        assert_eq!(merged(&given, patch(&json!({"instance": null}))).unwrap(), node());
        for bad in ["", "a/b", " a", "42", "status", &"x".repeat(129)] {
            let error = merged(&node(), patch(&json!({"instance": bad}))).unwrap_err();
            assert!(error.to_string().starts_with("instance: "), "{bad}: {error}");
        }
    }

    #[test]
    fn the_nodes_of_another_table_are_wallets() {
        for body in [json!({"kind": "http"}), json!({"path": null})] {
            let error = ours_of(patch(&body)).unwrap_err().to_string();
            assert!(error.starts_with("kind: "), "{error}");
        }
        assert!(ours_of(patch(&json!({"tls": "verify"}))).is_ok());
    }

    #[test]
    fn another_placement_is_written_and_resets_nothing() {
        let before = StoredNode {
            node: node(),
            verdict: crate::domain::verdict::Verdict::default(),
            version: 3,
            origin: Origin::User,
            owner: None,
            owner_epoch: 0,
        };
        let placed = || NodePatch { instance: Some(Some("b".into())), ..NodePatch::default() };
        match edit(&before, placed()).unwrap() {
            Some(NodeWrite::Update { node, version: 3, reset: false }) => {
                assert_eq!(node.placement.as_deref(), Some("b"));
            }
            other => panic!("{other:?}"),
        }
        let node = Node { placement: Some("b".into()), ..node() };
        assert!(edit(&StoredNode { node, ..before }, placed()).unwrap().is_none());
    }

    #[test]
    fn the_files_word_on_the_placement_counts_for_a_node_that_is_there_too() {
        let entry = NodeEntry { instance: Some("b".into()), ..NodeEntry::default() };
        for is_new in [true, false] {
            assert_eq!(patch_of(&entry, is_new).instance, Some(Some("b".into())));
        }
        assert_eq!(patch_of(&NodeEntry::default(), true).instance, None, "an absent key leaves it");
    }

    #[tokio::test]
    async fn two_edits_at_once_both_stand() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        let url = format!("sqlite://{}", dir.path().join("p.db").display());
        settings.database.url = Password::new(url);
        let monitor = Monitor::open(&settings, Open::Create).await.unwrap();
        let registry = monitor.registry();
        let new = NodePatch { name: Some("a".into()), port: Some(1), ..NodePatch::default() };
        let before = registry.create(new).await.unwrap();
        let title = NodePatch { title: Some(Some("t".into())), ..NodePatch::default() };
        let daemon = NodePatch { daemon: Some(Some("d".into())), ..NodePatch::default() };
        // Both have read the node before either writes it.
        assert!(registry.write(&before, title).await.unwrap());
        assert!(registry.write(&before, daemon).await.unwrap());
        let node = registry.get("a").await.unwrap().node;
        assert_eq!((node.title.as_deref(), node.daemon.as_deref()), (Some("t"), Some("d")));
    }

    #[tokio::test]
    async fn a_configuration_with_one_bad_node_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        let url = format!("sqlite://{}", dir.path().join("p.db").display());
        settings.database.url = Password::new(url);
        let monitor = Monitor::open(&settings, Open::Create).await.unwrap();
        let registry = monitor.registry();
        let entry =
            |name: &str, port| NodeEntry { name: name.to_owned(), port, ..NodeEntry::default() };
        let bad = [entry("a", Some(1)), entry("b", None)];
        assert!(registry.apply_config(&bad, false).await.is_err());
        assert_eq!(registry.list().await.unwrap(), []);

        let good = [entry("a", Some(1)), entry("b", Some(2))];
        registry.apply_config(&good, false).await.unwrap();
        let revision = monitor.store().revision().await.unwrap();
        registry.apply_config(&good, false).await.unwrap();
        assert_eq!(monitor.store().revision().await.unwrap(), revision, "nothing differs");
        registry.apply_config(&good[..1], true).await.unwrap();
        assert_eq!(registry.list().await.unwrap().len(), 1, "what left the file is pruned");
    }
}
