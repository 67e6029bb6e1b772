//! Who else uses the database: what a command may look at itself, and what it can only tell from the record.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::Settings;
use crate::domain::fleet::Placement;
use crate::domain::migration::Migration;
use crate::domain::node::Node;
use crate::domain::verdict::State;
use crate::http::Told;
use crate::snapshot::{MigrationView, NodeView, Standing, Watch};
use crate::store::{Store, StoreError, StoredNode};

/// The instances, as seen from the one that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Others {
    here: String,
    /// The live ones; none where the database is one instance's alone.
    live: Option<BTreeSet<String>>,
}

impl Others {
    pub(super) async fn read(store: &Store, settings: &Settings) -> Result<Self, StoreError> {
        let here = settings.instance.name.clone();
        if store.is_sole() {
            return Ok(Self { here, live: None });
        }
        let fleet = store.fleet().await?;
        let live = fleet.instances.iter().filter(|row| row.is_live(fleet.now));
        Ok(Self { here, live: Some(live.map(|row| row.name.clone()).collect()) })
    }

    /// A fleet of which these are live.
    #[cfg(test)]
    pub(super) fn of(here: &str, live: &[&str]) -> Self {
        let live = live.iter().map(|name| (*name).to_owned()).collect();
        Self { here: here.to_owned(), live: Some(live) }
    }

    /// No fleet.
    #[cfg(test)]
    pub(super) fn none(here: &str) -> Self {
        Self { here: here.to_owned(), live: None }
    }

    pub(super) const fn is_shared(&self) -> bool {
        self.live.is_some()
    }

    /// May this instance look at the node? Another host's loopback address or PID means something else here.
    pub(super) fn may_look(&self, node: &Node) -> bool {
        !self.is_shared() || Placement::of(node).allows(&self.here)
    }

    /// Does this instance answer for the node?
    pub(super) fn owns(&self, stored: &StoredNode) -> bool {
        self.standing(stored) == Standing::Mine
    }

    fn standing(&self, stored: &StoredNode) -> Standing {
        let Some(live) = &self.live else { return Standing::Mine };
        match Placement::of(&stored.node).answers(stored.owner.as_deref()) {
            None => Standing::Released,
            Some(owner) if owner == self.here => Standing::Mine,
            // How old a verdict is only a running server can tell.
            Some(owner) if live.contains(owner) => {
                Standing::Of { owner: owner.to_owned(), window: Duration::MAX }
            }
            Some(owner) => Standing::Lost { owner: owner.to_owned() },
        }
    }

    pub(super) fn node(&self, stored: &StoredNode) -> NodeView {
        NodeView {
            node: stored.node.clone().into(),
            verdict: stored.verdict.clone(),
            standing: self.standing(stored),
        }
    }

    /// A node by its record; how old that is only a running server can tell.
    pub(super) fn told<'a>(&'a self, view: &'a NodeView) -> Told<'a> {
        let state = match view.standing {
            _ if !view.node.available => State::Disabled,
            Standing::Mine | Standing::Of { .. } => view.verdict.state,
            Standing::Lost { .. } | Standing::Released => State::Unknown,
        };
        Told::in_state(view, state, &self.here)
    }

    pub(super) fn migration(&self, row: Migration) -> MigrationView {
        let watched = self
            .live
            .as_ref()
            .is_none_or(|live| row.instance == self.here || live.contains(&row.instance));
        let watch = if watched { Watch::Recorded } else { Watch::Lost };
        MigrationView { watch, ..MigrationView::recorded(row) }
    }
}
