//! Nodes of a table that is not ours: mirrored from it and let go again, or taken over once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{DUPLICATES, Registry, RegistryError};
use crate::clock;
use crate::domain::fleet::Placement;
use crate::domain::node::Node;
use crate::store::{InstanceRow, NewNode, NodeWrite, Origin, StoreError, StoredNode};

impl Registry {
    /// The nodes that are mirrored, by id, after `plan` has said what is to be written to bring them in line; it is asked
    /// again until there is nothing. Also whether anything was written.
    ///
    /// The plan is given our name, and the names among theirs of instances that are lost. `live` says of each instance
    /// that is known whether it lives, by one that may judge: after an outage every lease has ended.
    ///
    /// # Errors
    /// [`RegistryError::Store`]; nothing of that plan is written then.
    pub async fn mirror(
        &self,
        live: &BTreeMap<String, bool>,
        plan: impl Fn(&[StoredNode], &str, &BTreeSet<String>) -> Vec<NodeWrite> + Send + Sync,
    ) -> Result<(Vec<StoredNode>, bool), RegistryError> {
        let mut wrote = false;
        let mut ours = self.store.adopted_nodes().await?;
        for tries in (0..DUPLICATES).rev() {
            let lost = self.lost(&ours, live).await?;
            let writes = plan(&ours, &self.instance, &lost);
            if writes.is_empty() {
                break;
            }
            match self.store.write_nodes(&writes, clock::now().wall).await {
                Ok(_) => {
                    wrote = true;
                    for name in lost {
                        tracing::info!(instance = name, "lost: its adopted nodes are placed here");
                    }
                }
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

    /// Those that nodes are registered with and that are lost: forgotten, or judged so and silent for a whole lease,
    /// goodbye or not. One that only starts again keeps its nodes.
    async fn lost(
        &self,
        ours: &[StoredNode],
        live: &BTreeMap<String, bool>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut names: BTreeSet<String> = ours.iter().map(|it| it.node.instance.clone()).collect();
        names.retain(|name| *name != self.instance && live.get(name) != Some(&true));
        if names.is_empty() || self.store.is_sole() {
            return Ok(names);
        }
        let fleet = self.store.fleet().await?;
        for row in &fleet.instances {
            if !is_lost(row, fleet.now, live.get(&row.name).copied()) {
                names.remove(&row.name);
            }
        }
        Ok(names)
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
    /// those. `step` is called after each write.
    ///
    /// # Errors
    /// [`RegistryError::Adopted`], [`RegistryError::Store`].
    pub async fn import(
        &self,
        nodes: &[Node],
        step: &(dyn Fn() + Sync),
    ) -> Result<Vec<Option<i64>>, RegistryError> {
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
            written = self.store.write_nodes_telling(&writes, clock::now().wall, step).await?;
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

/// `live`: as it was judged, if it was. At `now` of the database's clock its last heartbeat would not hold any more, had it
/// said goodbye or not.
fn is_lost(row: &InstanceRow, now: i64, live: Option<bool>) -> bool {
    let silent = now >= row.last_beat.saturating_add(row.lease_ms);
    silent && !row.is_live(now) && live == Some(false)
}

const fn id_of(write: &NodeWrite) -> Option<i64> {
    match write {
        NodeWrite::Insert(_) => None,
        NodeWrite::Update { node, .. } => Some(node.id),
        NodeWrite::Delete(id) => Some(*id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_lost_once_it_is_judged_so_and_was_silent_for_a_lease() {
        let row = |expires_at| InstanceRow {
            name: "a".to_owned(),
            host_id: String::new(),
            boot_id: String::new(),
            pid_ns: 1,
            pid: 1,
            start_ticks: None,
            version: String::new(),
            since: 0,
            last_beat: 1_000,
            expires_at,
            lease_ms: 100,
            epoch: 1,
            seq: 0,
            swept_at: None,
            swept_up: None,
            swept_db: None,
            window_ms: 0,
            tick_ms: 0,
            nodes: 0,
            locks: 0,
            alerted: None,
        };
        let (beats, said_goodbye) = (row(1_100), row(0));
        for (row, now, live, lost) in [
            (&beats, 1_099, Some(false), false),
            (&beats, 1_100, Some(false), true),
            // After an outage every lease has ended: nobody is judged for a while.
            (&beats, 9_000, Some(true), false),
            (&beats, 9_000, None, false),
            // It may only start again.
            (&said_goodbye, 1_099, Some(false), false),
            (&said_goodbye, 1_100, Some(false), true),
        ] {
            assert_eq!(is_lost(row, now, live), lost, "{now} {live:?} {}", row.expires_at);
        }
    }
}
