//! What is told of a node that is not looked at for the request: who answers for it decides how much of the record
//! still counts.

use std::borrow::Cow;

use crate::domain::Uptime;
use crate::domain::observation::Reason;
use crate::domain::verdict::State;
use crate::snapshot::{NodeView, NodesPart, Standing};

/// A node as readers are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    /// What it is now.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// The same for people.
    pub message: Cow<'a, str>,
    /// The instance that answers for it; none for one that was released.
    pub owner: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// By the snapshot; `here` is this instance's name.
    #[must_use]
    pub fn of(part: &NodesPart, view: &'a NodeView, here: &'a str, now: Uptime) -> Self {
        Self::in_state(view, part.state_of(view, now), here)
    }

    /// The same for a node whose state was found otherwise.
    #[must_use]
    pub fn in_state(view: &'a NodeView, state: State, here: &'a str) -> Self {
        let message = match &view.standing {
            Standing::Lost { owner } if view.node.available => {
                format!("The instance '{owner}' is lost: nobody looks at this node").into()
            }
            Standing::Released if view.node.available => {
                "Nobody answers for this node: its instance was forgotten".into()
            }
            _ => Cow::Borrowed(view.verdict.message.as_str()),
        };
        Self { state, reason: view.reason(), message, owner: view.owner(here) }
    }

    /// Does it work?
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }
}
