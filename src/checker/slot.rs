//! What is held for one node between checks: its connection, the checks under way, and their last answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Checked;
use super::connection::Connection;
use super::question::{Parts, Question};
use crate::domain::observation::ApiFacts;
use crate::domain::{Method, Node, Now};

/// How long an answer is given again (`GET /nodes/{id}/status`).
const RECENT: Duration = Duration::from_secs(1);

/// A run that anybody may join until it has ended. It goes on while somebody waits for it, and is dropped
/// with the last of them. One of those who wait drives it; when that one leaves, the next does.
pub struct Flight<T>(Mutex<Weak<Run<T>>>);

/// A run, and what it brought.
pub struct Run<T>(tokio::sync::Mutex<Stage<T>>);

enum Stage<T> {
    UnderWay(BoxFuture<'static, T>),
    Over(T),
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::new(Weak::new()))
    }
}

impl<T: Clone> Flight<T> {
    /// The run that is under way, or a new one.
    pub fn join(&self, start: impl FnOnce() -> BoxFuture<'static, T>) -> Arc<Run<T>> {
        let mut place = lock(&self.0);
        if let Some(run) = place.upgrade().filter(|run| !run.is_over()) {
            return run;
        }
        let run = Arc::new(Run(tokio::sync::Mutex::new(Stage::UnderWay(start()))));
        *place = Arc::downgrade(&run);
        run
    }

    /// Gives back the room of a run that is over, unless there is another one by now.
    pub fn rest(&self, run: &Arc<Run<T>>) {
        let mut place = lock(&self.0);
        if std::ptr::eq(place.as_ptr(), Arc::as_ptr(run)) {
            *place = Weak::new();
        }
    }

    /// Lets nobody else join the run that is under way.
    fn close(&self) {
        *lock(&self.0) = Weak::new();
    }
}

impl<T: Clone> Run<T> {
    /// What it brings.
    pub async fn end(&self) -> T {
        let mut stage = self.0.lock().await;
        let brought = match &mut *stage {
            Stage::UnderWay(run) => run.await,
            Stage::Over(brought) => return brought.clone(),
        };
        *stage = Stage::Over(brought.clone());
        brought
    }

    /// Held by whoever drives it, it is under way.
    fn is_over(&self) -> bool {
        self.0.try_lock().is_ok_and(|stage| matches!(*stage, Stage::Over(_)))
    }
}

/// The last answers to people, one per method. Most nodes have none.
#[derive(Default)]
struct Recent {
    /// Grows when they are forgotten, so that a run which began before that leaves none behind.
    epoch: u64,
    answers: [Option<Box<Checked>>; 4],
}

/// All that is held for one node.
pub struct Slot {
    node: Arc<Node>,
    logs_in: bool,
    url: Arc<str>,
    question: Question,
    begin: Option<Box<str>>,
    /// One check of each method but `api`.
    runs: [Flight<Checked>; 3],
    /// One RPC exchange, shared by `api` and `full`, and when it ended.
    pub api: Flight<(ApiFacts, Now)>,
    /// Absent while an exchange uses it: a dropped exchange takes its connection with it.
    kept: Mutex<Option<Box<Connection>>>,
    recent: Mutex<Recent>,
    /// Held by an exchange; handed on to the slot that replaces this one, so that the old exchange ends
    /// before the node is asked anew.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Nothing but a turn that is not over: left by a reset, to go with a later one.
    leftover: bool,
}

impl Slot {
    /// An empty slot for a node; `before` is the one that it replaces.
    #[must_use]
    pub fn new(node: &Arc<Node>, before: Option<&Self>) -> Self {
        let question = Question::of(&node.service);
        Self {
            node: Arc::clone(node),
            logs_in: node.username.is_some(),
            url: node.url().into(),
            begin: question.parts().begin(node),
            question,
            runs: Default::default(),
            api: Flight::default(),
            kept: Mutex::new(None),
            recent: Mutex::default(),
            turn: before.map(|slot| slot.turn.clone()).unwrap_or_default(),
            leftover: false,
        }
    }

    /// What must stay when this slot is reset: its turn, while an exchange has it.
    #[must_use]
    pub fn remains(&self) -> Option<Self> {
        let slot = Self { leftover: true, ..Self::new(&self.node, Some(self)) };
        (!self.is_idle()).then_some(slot)
    }

    /// Is it there for its turn alone?
    #[must_use]
    pub const fn is_leftover(&self) -> bool {
        self.leftover
    }

    /// May this be thrown away?
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.leftover && self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.turn.try_lock().is_ok()
    }

    /// Is it for this node as it is now?
    #[must_use]
    pub fn serves(&self, node: &Node) -> bool {
        !self.leftover && self.node.same_target(node)
    }

    /// What it is for, as it was when it was asked first: what it says of how to ask it still holds.
    #[must_use]
    pub fn target(&self) -> &Node {
        &self.node
    }

    /// Its RPC address.
    #[must_use]
    pub const fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// As whom it is asked. What is not asked for is not looked up: the node itself rests elsewhere in memory.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        if self.logs_in { self.node.username.as_deref() } else { None }
    }

    /// What each request to it begins with; none if it cannot be asked.
    #[must_use]
    pub fn begin(&self) -> Option<&str> {
        self.begin.as_deref()
    }

    /// What it is asked.
    #[must_use]
    pub fn question(&self) -> &Parts {
        self.question.parts()
    }

    /// The checks of a method; none of `api`, whose exchange is all of it.
    #[must_use]
    pub fn run(&self, method: Method) -> Option<&Flight<Checked>> {
        self.runs.get(index(method))
    }

    /// The right to ask the node; one at a time.
    pub async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        match self.turn.clone().try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => self.turn.clone().lock_owned().await,
        }
    }

    /// The kept connection, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Box<Connection>> {
        lock(&self.kept).take()
    }

    /// Keeps a connection for the next exchange.
    pub fn keep(&self, connection: Option<Box<Connection>>) {
        *lock(&self.kept) = connection;
    }

    /// Which answers may be kept; to be asked when a run begins.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        lock(&self.recent).epoch
    }

    /// Keeps an answer for those who ask within a second, unless it was begun before the answers were forgotten.
    pub fn remember(&self, epoch: u64, method: Method, answer: &Checked) {
        let mut recent = lock(&self.recent);
        if recent.epoch == epoch {
            recent.answers[index(method)] = Some(Box::new(answer.clone()));
        }
    }

    /// Nobody shall be given an older answer than that of a look which began at this epoch and is over.
    pub fn outdate(&self, epoch: u64, method: Method) {
        let mut recent = lock(&self.recent);
        if recent.epoch == epoch {
            recent.answers[index(method)] = None;
        }
    }

    /// The last answer, if it is younger than a second.
    #[must_use]
    pub fn recent(&self, method: Method, now: Now) -> Option<Checked> {
        let recent = lock(&self.recent);
        let answer = recent.answers[index(method)].as_deref();
        answer.filter(|answer| now.up.since(answer.at.up) < RECENT).cloned()
    }

    /// Forgets the answers, and lets nobody join a run that may have looked already.
    ///
    /// An RPC exchange that is under way may be joined still: what it says, the node says at its end.
    pub fn forget(&self) {
        let mut recent = lock(&self.recent);
        recent.epoch += 1;
        recent.answers = Default::default();
        for run in &self.runs {
            run.close();
        }
    }
}

/// The slots of all nodes.
#[derive(Default)]
pub struct Slots {
    /// By the node's id.
    by_id: HashMap<i64, Place>,
    /// Where something was left by a reset.
    leftovers: Vec<i64>,
    /// So many resets later they are gone through: as many as there were, so that many resets in a row stay cheap.
    rest: usize,
}

/// One of them.
struct Place {
    slot: Arc<Slot>,
    /// The node that was asked for last, as whose the slot is known.
    node: Arc<Node>,
}

impl Slots {
    /// The slot of a node as it is now: one that points elsewhere than before starts anew.
    pub fn of(&mut self, node: &Arc<Node>) -> Arc<Slot> {
        let before = match self.by_id.get_mut(&node.id) {
            // Mostly it is the very same, which shows without a look at where it points.
            Some(place) if Arc::ptr_eq(&place.node, node) && !place.slot.leftover => {
                return Arc::clone(&place.slot);
            }
            Some(place) if place.slot.serves(node) => {
                place.node = Arc::clone(node);
                return Arc::clone(&place.slot);
            }
            before => before.map(|place| Arc::clone(&place.slot)),
        };
        let slot = Arc::new(Slot::new(node, before.as_deref()));
        self.put(Arc::clone(node), Arc::clone(&slot));
        slot
    }

    /// The slot that a node has.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&Arc<Slot>> {
        self.by_id.get(&id).map(|place| &place.slot)
    }

    /// Is nothing held of any node?
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn put(&mut self, node: Arc<Node>, slot: Arc<Slot>) {
        self.by_id.insert(node.id, Place { slot, node });
    }

    /// Forgets all that is held for a node, but for the turn of an exchange that is under way.
    pub fn reset(&mut self, id: i64) {
        if let Some(place) = self.by_id.remove(&id)
            && let Some(rest) = place.slot.remains()
        {
            self.put(place.node, Arc::new(rest));
            self.leftovers.push(id);
        }
        self.rest = self.rest.saturating_sub(1);
        if self.rest == 0 {
            let by_id = &mut self.by_id;
            self.leftovers.retain(|id| {
                let left = by_id.get(id).filter(|place| place.slot.is_leftover());
                let spent = left.is_some_and(|place| place.slot.is_spent());
                let stays = left.is_some() && !spent;
                if spent {
                    by_id.remove(id);
                }
                stays
            });
            self.rest = self.leftovers.len();
        }
    }
}

const fn index(method: Method) -> usize {
    match method {
        Method::Pid => 0,
        Method::Port => 1,
        Method::Full => 2,
        Method::Api => 3,
    }
}

/// What these locks guard is whole at every moment, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
