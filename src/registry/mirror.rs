//! Nodes of a table that is not ours: mirrored from it and let go again, or taken over once.

use std::collections::HashSet;

use super::{DUPLICATES, Registry, RegistryError};
use crate::clock;
use crate::domain::fleet::Placement;
use crate::domain::node::Node;
use crate::store::{NewNode, NodeWrite, Origin, StoreError, StoredNode};

impl Registry {
    /// The nodes that are mirrored, by id, after `plan` has said what is to be written to bring them in line; it is asked
    /// again until there is nothing. Also whether anything was written.
    ///
    /// # Errors
    /// [`RegistryError::Store`]; nothing of that plan is written then.
    pub async fn mirror(
        &self,
        plan: impl Fn(&[StoredNode], &str) -> Vec<NodeWrite> + Send + Sync,
    ) -> Result<(Vec<StoredNode>, bool), RegistryError> {
        let mut wrote = false;
        let mut ours = self.store.adopted_nodes().await?;
        for tries in (0..DUPLICATES).rev() {
            let writes = plan(&ours, &self.instance);
            if writes.is_empty() {
                break;
            }
            match self.store.write_nodes(&writes, clock::now().wall).await {
                Ok(_) => wrote = true,
                // Another instance mirrors the same table: its nodes are there at the next look.
                Err(StoreError::DuplicateName(_)) if tries > 0 => {}
                Err(error) => return Err(error.into()),
            }
            writes.iter().filter_map(id_of).for_each(|id| self.checker.reset(id));
            ours = self.store.adopted_nodes().await?;
        }
        if wrote {
            self.changed().await;
        }
        Ok((ours, wrote))
    }

    /// Removes the nodes that this instance, or one that there is no more, mirrored from a table that is not ours: they
    /// stand there. Gives how many there were.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub async fn let_go(&self) -> Result<usize, RegistryError> {
        let mut ours = self.store.adopted_nodes().await?;
        if !ours.is_empty() {
            let others = self.others().await?;
            ours.retain(|it| !others.contains(&it.node.instance));
        }
        if ours.is_empty() {
            return Ok(0);
        }
        let writes: Vec<_> = ours.iter().map(|it| NodeWrite::Delete(it.node.id)).collect();
        self.store.write_nodes(&writes, clock::now().wall).await?;
        self.changed().await;
        Ok(writes.len())
    }

    /// How many nodes there are that are not mirrored.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub async fn own(&self) -> Result<i64, RegistryError> {
        Ok(self.store.count_own_nodes().await?)
    }

    /// Makes these nodes, all or none, with ids of ours; a name that there is already is left alone. Their ids, none for
    /// those.
    ///
    /// # Errors
    /// [`RegistryError::Adopted`], [`RegistryError::Store`].
    pub async fn import(&self, nodes: &[Node]) -> Result<Vec<Option<i64>>, RegistryError> {
        if let Some(table) = &self.table {
            let problem = format!("the nodes of {table} are here already (adopt.nodes)");
            return Err(RegistryError::Adopted(problem));
        }
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let there = self.store.nodes_by_name(&names).await?;
        let there: HashSet<&str> = there.iter().map(|it| it.node.name.as_str()).collect();
        let new = nodes.iter().filter(|node| !there.contains(node.name.as_str()));
        let writes: Vec<_> = new.map(|node| NodeWrite::Insert(self.imported(node))).collect();
        let mut written = Vec::new();
        if !writes.is_empty() {
            written = self.store.write_nodes(&writes, clock::now().wall).await?;
            self.changed().await;
        }
        let mut ids = written.into_iter();
        let id = |name: &&str| if there.contains(name) { None } else { ids.next().flatten() };
        Ok(names.iter().map(id).collect())
    }

    fn imported(&self, node: &Node) -> NewNode {
        let node = Node { instance: self.instance.clone(), ..node.clone() };
        let owner = match Placement::of(&node) {
            Placement::On(name) => name.to_owned(),
            Placement::Any => self.instance.clone(),
        };
        NewNode { node, origin: Origin::User, owner }
    }
}

const fn id_of(write: &NodeWrite) -> Option<i64> {
    match write {
        NodeWrite::Insert(_) => None,
        NodeWrite::Update { node, .. } => Some(node.id),
        NodeWrite::Delete(id) => Some(*id),
    }
}
