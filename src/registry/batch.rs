//! Many nodes at once, as a file brings them: all of them or none.

use std::collections::{HashMap, HashSet};

use super::{NodePatch, Registry, RegistryError, edit};
use crate::clock;
use crate::store::{NodeWrite, Origin, StoredNode};

/// What became of one of them, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batched {
    /// It was made.
    Added,
    /// The node of that name was changed.
    Changed,
    /// It is there, as the file has it.
    Same,
    /// A node of that name is there, and was left alone.
    Exists,
    /// It cannot be a node, and so none of them was written.
    Faulty(String),
}

impl Registry {
    /// Makes these nodes, in one transaction. A name that is there already is left alone, or with `update` changed: what the
    /// file does not say of it stays. With `dry_run` nothing is written.
    ///
    /// # Errors
    /// [`RegistryError::Adopted`], [`RegistryError::Store`]; what is wrong with one of them is told beside it.
    pub async fn batch(
        &self,
        patches: Vec<Result<NodePatch, String>>,
        update: bool,
        dry_run: bool,
    ) -> Result<Vec<Batched>, RegistryError> {
        self.batch_telling(patches, update, dry_run, &|| {}).await
    }

    /// The same, where somebody waits: `step` is called after each write.
    ///
    /// # Errors
    /// As above.
    pub async fn batch_telling(
        &self,
        patches: Vec<Result<NodePatch, String>>,
        update: bool,
        dry_run: bool,
        step: &(dyn Fn() + Sync),
    ) -> Result<Vec<Batched>, RegistryError> {
        if let Some(table) = &self.table {
            let problem = format!("the nodes are those of {table} (adopt.nodes): make them there");
            return Err(RegistryError::Adopted(problem));
        }
        let names: Vec<&str> =
            patches.iter().flatten().filter_map(|patch| patch.name.as_deref()).collect();
        let there = self.store.nodes_by_name(&names).await?;
        let there: HashMap<&str, &StoredNode> =
            there.iter().map(|it| (it.node.name.as_str(), it)).collect();
        let (mut writes, mut seen, mut all) = (Vec::new(), HashSet::new(), Vec::new());
        for patch in patches {
            let planned = patch.and_then(|patch| self.planned(patch, &there, update, &mut seen));
            all.push(match planned {
                Ok((batched, write)) => {
                    writes.extend(write);
                    batched
                }
                Err(problem) => Batched::Faulty(problem),
            });
        }
        let is_faulty = all.iter().any(|it| matches!(it, Batched::Faulty(_)));
        if is_faulty || dry_run || writes.is_empty() {
            return Ok(all);
        }
        let written = self.store.write_nodes_telling(&writes, clock::now().wall, step).await?;
        written.iter().flatten().for_each(|id| self.checker.reset(*id));
        self.changed().await;
        Ok(all)
    }

    fn planned(
        &self,
        patch: NodePatch,
        there: &HashMap<&str, &StoredNode>,
        update: bool,
        seen: &mut HashSet<String>,
    ) -> Result<(Batched, Option<NodeWrite>), String> {
        let text = |error: RegistryError| error.to_string();
        let name = patch.name.clone().unwrap_or_default();
        if !name.is_empty() && !seen.insert(name.clone()) {
            return Err("name: stands in the file twice".to_owned());
        }
        match there.get(name.as_str()) {
            None => {
                let new = self.new_node(patch, Origin::User).map_err(text)?;
                Ok((Batched::Added, Some(NodeWrite::Insert(new))))
            }
            Some(_) if !update => Ok((Batched::Exists, None)),
            Some(before) => match edit(before, patch).map_err(text)? {
                Some(write) => Ok((Batched::Changed, Some(write))),
                None => Ok((Batched::Same, None)),
            },
        }
    }
}
