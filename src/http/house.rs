//! The connections that are held: how many, and who goes where there is no place for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::access::Caller;
use super::connection::Requests;
use crate::domain::access::Which;

/// How long a connection may take to ask something where places are wanted.
const IDLE: Duration = Duration::from_secs(1);

/// Least time between two searches for places: each goes through all connections.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections, and how many there may be.
#[derive(Debug)]
pub struct House {
    most: usize,
    held: Vec<Held>,
    looked_at: Option<Instant>,
    is_full: bool,
}

/// One of them.
#[derive(Debug)]
struct Held {
    caller: Caller,
    requests: Arc<Requests>,
    since: Instant,
    task: AbortHandle,
}

impl Held {
    fn is_idle(&self, now: Instant) -> bool {
        !self.requests.are_under_way() && now.duration_since(self.since) >= IDLE
    }
}

impl House {
    /// With so many places.
    pub const fn new(most: usize) -> Self {
        Self { most, held: Vec::new(), looked_at: None, is_full: false }
    }

    /// Is there a place for one more, with `count` connections that have not ended? If there is none, those that ask nothing
    /// go, and if all ask something, the half of those of a client that has more than half of all: then there soon is.
    pub fn has_place(&mut self, count: usize, now: Instant) -> bool {
        if count < self.most {
            if std::mem::take(&mut self.is_full) {
                tracing::info!("connections are taken again");
            }
            return true;
        }
        if self.looked_at.is_some_and(|at| now.duration_since(at) < PAUSE) {
            return false;
        }
        self.looked_at = Some(now);
        let ended = self.make_place(now);
        if ended == 0 && !std::mem::replace(&mut self.is_full, true) {
            tracing::warn!(connections = count, "no place for another (server.max_connections)");
        }
        // An aborted task gives its place back when it is polled next; one over the limit for a moment does no harm.
        ended > 0
    }

    /// How many were ended.
    fn make_place(&mut self, now: Instant) -> usize {
        self.held.retain(|held| !held.task.is_finished());
        let mut ended = 0;
        for held in self.held.iter().filter(|held| held.is_idle(now)) {
            held.task.abort();
            ended += 1;
        }
        if ended > 0 {
            return ended;
        }
        let Some((client, count)) = self.greediest() else { return 0 };
        if count <= self.most / 2 {
            return 0;
        }
        let theirs = self.held.iter().filter(|held| held.caller.client == client);
        for held in theirs.take(count / 2) {
            held.task.abort();
            ended += 1;
        }
        ended
    }

    /// The client with the most connections; those of a proxy that is trusted, or of this machine, are many clients'.
    fn greediest(&self) -> Option<(IpAddr, usize)> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for held in self.held.iter().filter(|it| it.caller.standing.is_counted == Which::All) {
            *counts.entry(held.caller.client).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count)
    }

    /// Takes one in.
    pub fn take(
        &mut self,
        caller: Caller,
        requests: Arc<Requests>,
        task: AbortHandle,
        now: Instant,
    ) {
        // Twice what is there: so each is looked at a few times in its life, whatever the number.
        if self.held.len() == self.held.capacity() {
            self.held.retain(|held| !held.task.is_finished());
        }
        self.held.push(Held { caller, requests, since: now, task });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{Doors, client};

    fn caller(last: u8) -> Caller {
        let peer = IpAddr::from([192, 0, 2, last]);
        Caller { client: client(peer), standing: Doors::default().standing(peer) }
    }

    /// A connection that waits for ever, with a request under way or none.
    fn connection(house: &mut House, caller: Caller, asks: bool, now: Instant) {
        let requests = Arc::new(Requests::default());
        if asks {
            requests.begin_for_test();
        }
        let task = tokio::spawn(std::future::pending::<()>());
        house.take(caller, requests, task.abort_handle(), now);
    }

    fn left(house: &House) -> usize {
        house.held.iter().filter(|held| !held.task.is_finished()).count()
    }

    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn those_who_ask_nothing_go_first_and_only_where_places_are_wanted() {
        let (mut house, now) = (House::new(10), Instant::now());
        for n in 0..10 {
            connection(&mut house, caller(n), n % 2 == 0, now);
        }
        assert!(house.has_place(9, now + Duration::from_mins(1)));
        assert!(!house.has_place(10, now), "they have just come");
        assert!(!house.has_place(10, now + PAUSE / 2), "and are not searched again at once");
        assert!(house.has_place(10, now + IDLE));
        settle().await;
        assert_eq!(left(&house), 5);
        assert!(house.held.iter().all(|it| it.task.is_finished() || it.requests.are_under_way()));
    }

    #[tokio::test]
    async fn one_client_has_no_more_than_half_where_others_want_a_place() {
        let (mut house, now) = (House::new(10), Instant::now());
        for n in 0..3 {
            connection(&mut house, caller(n), true, now);
        }
        for _ in 0..7 {
            connection(&mut house, caller(9), true, now);
        }
        let later = now + IDLE;
        assert!(house.has_place(10, later));
        settle().await;
        assert_eq!(left(&house), 7);
        let theirs = house.held.iter().filter(|it| !it.task.is_finished());
        assert_eq!(theirs.filter(|it| it.caller.client == caller(9).client).count(), 4);
        // Where nobody has more than half, whoever comes has to wait.
        assert!(!house.has_place(10, later + PAUSE));
        settle().await;
        assert_eq!(left(&house), 7);
    }

    #[tokio::test]
    async fn the_connections_of_a_proxy_of_this_machine_are_many_clients() {
        let (mut house, now) = (House::new(4), Instant::now());
        let peer = IpAddr::from([127, 0, 0, 1]);
        let local = Caller { client: peer, standing: Doors::default().standing(peer) };
        for _ in 0..4 {
            connection(&mut house, local, true, now);
        }
        assert!(!house.has_place(4, now + IDLE));
        settle().await;
        assert_eq!(left(&house), 4);
    }
}
