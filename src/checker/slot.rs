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

    /// Gives back the room of a run that is over.
    pub fn rest(&self) {
        let mut place = lock(&self.0);
        if place.upgrade().is_none_or(|run| run.is_over()) {
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
    node: Node,
    url: Arc<str>,
    question: Question,
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
    pub fn new(node: &Node, before: Option<&Self>) -> Self {
        Self {
            node: target_of(node),
            url: node.url().into(),
            question: Question::of(&node.service),
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

    /// What it is for: the node as far as it says how to ask it.
    #[must_use]
    pub const fn target(&self) -> &Node {
        &self.node
    }

    /// Its RPC address.
    #[must_use]
    pub const fn url(&self) -> &Arc<str> {
        &self.url
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

/// The node without what says nothing of how it is asked: a hundred thousand of them rest here.
fn target_of(node: &Node) -> Node {
    Node {
        id: node.id,
        name: String::new(),
        title: None,
        host: node.host.clone(),
        port: node.port,
        service: node.service.clone(),
        tls: node.tls,
        username: node.username.clone(),
        password: node.password.clone(),
        daemon: None,
        pid: node.pid,
        pid_file: node.pid_file.clone(),
        process_name: node.process_name.clone(),
        available: node.available,
        instance: String::new(),
        placement: None,
        maintenance_until: None,
        identity: None,
    }
}

/// The slots of all nodes.
#[derive(Default)]
pub struct Slots {
    /// By the node's id.
    pub by_id: HashMap<i64, Arc<Slot>>,
    /// Where something was left by a reset.
    leftovers: Vec<i64>,
    /// So many resets later they are gone through: as many as there were, so that many resets in a row stay cheap.
    rest: usize,
}

impl Slots {
    /// Forgets all that is held for a node, but for the turn of an exchange that is under way.
    pub fn reset(&mut self, id: i64) {
        if let Some(slot) = self.by_id.remove(&id)
            && let Some(rest) = slot.remains()
        {
            self.by_id.insert(id, Arc::new(rest));
            self.leftovers.push(id);
        }
        self.rest = self.rest.saturating_sub(1);
        if self.rest == 0 {
            let by_id = &mut self.by_id;
            self.leftovers.retain(|id| {
                let left = by_id.get(id).filter(|slot| slot.is_leftover());
                let spent = left.is_some_and(|slot| slot.is_spent());
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
