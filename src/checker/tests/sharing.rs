//! One connection, one exchange and one answer per node.

use super::*;
use tokio::sync::Semaphore;

const VERSION: ApiSeen = ApiSeen::Version(65561);

/// A server that answers a request for each permit it is given.
async fn gated() -> (Fake, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let server = Fake::start(move |mut client| {
        let gate = held.clone();
        async move {
            while let Some(request) = client.request().await {
                gate.acquire().await.unwrap().forget();
                client.send(good(&request)).await;
            }
        }
    })
    .await;
    (server, gate)
}

async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "it never came to be");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_one_that_was_closed_is_replaced() {
    let server = Fake::start(|mut client| async move {
        for _ in 0..2 {
            if let Some(request) = client.request().await {
                client.send(good(&request)).await;
            }
        }
    })
    .await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    for connections in [1, 1, 2, 2, 3] {
        assert_eq!(api(&checker, &node).await, VERSION);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_on_the_request_is_replaced_once() {
    let server = Fake::start(|mut client| async move {
        if client.number == 0
            && let Some(request) = client.request().await
        {
            client.send(good(&request)).await;
        }
        client.request().await;
    })
    .await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    assert_eq!(api(&checker, &node).await, VERSION);
    assert_eq!(api(&checker, &node).await, ApiSeen::Io("closed without an answer".into()));
    assert_eq!((server.connections(), server.requests().len()), (2, 3));
}

#[tokio::test]
async fn what_a_server_says_unasked_is_no_answer() {
    let server = Fake::start(|mut client| async move {
        while let Some(request) = client.request().await {
            client.send(good(&request)).await;
            client.send(ok(r#"{"id":"procwarden-2","result":{"version":1}}"#)).await;
        }
    })
    .await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    for _ in 0..4 {
        let seen = api(&checker, &node).await;
        assert_ne!(seen, ApiSeen::Version(1));
    }
}

#[tokio::test]
async fn callers_share_one_exchange_across_methods() {
    let (server, gate) = gated().await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let mut callers = tokio::task::JoinSet::new();
    for method in [Method::Api, Method::Full].repeat(8) {
        let (checker, node) = (checker.clone(), node.clone());
        callers.spawn(async move { checker.check(&shared(&node), method).await });
    }
    until(|| server.requests().len() == 1).await;
    // Every caller has begun to wait once the ports of the full checks are looked at.
    until(|| server.connections() == 2).await;
    gate.add_permits(1);
    let mut answers = Vec::new();
    while let Some(answer) = callers.join_next().await {
        answers.push(answer.unwrap());
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.connections(), 2, "the kept one, and one look at the port");
    for answer in answers {
        let (Observation::Api(api) | Observation::Full(_, _, api)) = answer.observation else {
            panic!()
        };
        assert_eq!(api.seen, VERSION);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_half_read_answer_behind() {
    let (server, gate) = gated().await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let waiting = tokio::spawn({
        let (checker, node) = (checker.clone(), node.clone());
        async move { checker.check(&shared(&node), Method::Api).await }
    });
    until(|| server.requests().len() == 1).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    gate.add_permits(2);
    assert_eq!(api(&checker, &node).await, VERSION);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_nobody_elses_check() {
    let (server, gate) = gated().await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let start = || {
        let (checker, node) = (checker.clone(), node.clone());
        tokio::spawn(async move { api(&checker, &node).await })
    };
    let first = start();
    until(|| server.requests().len() == 1).await;
    let second = start();
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(second.await.unwrap(), VERSION);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_is_given_again_until_it_is_forgotten() {
    let server = Fake::answering(good).await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let first = checker.live(&shared(&node), Method::Api).await;
    let again = checker.live(&shared(&node), Method::Api).await;
    let asked = server.requests().len();
    // On a machine that stood still for a second between the two, it was asked again: no failure.
    assert!(
        first == again && asked == 1 || again.at.up.since(first.at.up) >= Duration::from_secs(1)
    );
    checker.check(&shared(&node), Method::Api).await;
    assert_eq!(server.requests().len(), asked + 1, "a check is a fresh look");
    checker.forget(node.id);
    checker.live(&shared(&node), Method::Api).await;
    assert_eq!(server.requests().len(), asked + 2);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_look_that_began_before_the_answers_were_forgotten_is_not_given_again() {
    let (server, gate) = gated().await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let before = tokio::spawn({
        let (checker, node) = (checker.clone(), node.clone());
        async move { checker.live(&shared(&node), Method::Api).await }
    });
    until(|| server.requests().len() == 1).await;
    checker.forget(node.id);
    gate.add_permits(2);
    before.await.unwrap();
    checker.live(&shared(&node), Method::Api).await;
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_reset_ends_the_connection_and_the_slot() {
    let server = Fake::answering(good).await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    checker.live(&shared(&node), Method::Api).await;
    checker.reset(node.id);
    assert!(checker.slots().is_empty());
    checker.live(&shared(&node), Method::Api).await;
    assert_eq!((server.connections(), server.requests().len()), (2, 2));
}

#[tokio::test]
async fn a_reset_does_not_lead_to_two_requests_at_once() {
    let (server, gate) = gated().await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let start = || {
        let (checker, node) = (checker.clone(), node.clone());
        tokio::spawn(async move { api(&checker, &node).await })
    };
    let before = start();
    until(|| server.requests().len() == 1).await;
    checker.reset(node.id);
    let after = start();
    // Time enough for another node's whole check.
    let other = Fake::answering(good).await;
    let elsewhere = Node { id: 2, port: other.port, ..node.clone() };
    assert_eq!(api(&checker, &elsewhere).await, VERSION);
    assert_eq!(server.connections(), 1, "the second waits for the first");
    gate.add_permits(2);
    assert_eq!((before.await.unwrap(), after.await.unwrap()), (VERSION, VERSION));
    assert_eq!((server.connections(), server.requests().len()), (2, 2));
    checker.reset(node.id);
    checker.reset(elsewhere.id);
    assert!(checker.slots().is_empty());
}

#[tokio::test]
async fn the_very_same_node_has_its_slot_until_it_is_another_or_reset() {
    let (mut slots, node) = (Slots::default(), shared(&node(1)));
    let first = slots.of(&node);
    let renamed = Arc::new(Node { name: "other".into(), ..Node::clone(&node) });
    for same in [&node, &renamed, &renamed, &node] {
        assert!(Arc::ptr_eq(&first, &slots.of(same)));
    }
    let moved = Arc::new(Node { port: 2, ..Node::clone(&node) });
    let elsewhere = slots.of(&moved);
    assert!(!Arc::ptr_eq(&first, &elsewhere) && Arc::ptr_eq(&elsewhere, &slots.of(&moved)));
    let first = slots.of(&node);
    assert_eq!((first.target().port, elsewhere.target().port), (1, 2));
    let turn = first.turn().await;
    slots.reset(node.id);
    let second = slots.of(&node);
    assert!(!Arc::ptr_eq(&first, &second) && !second.is_leftover());
    assert!(second.turn().now_or_never().is_none());
    drop(turn);
    assert!(second.turn().now_or_never().is_some());
}

#[tokio::test]
async fn a_removed_node_leaves_nothing_once_its_last_check_is_over() {
    let (server, gate) = gated().await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    let last = tokio::spawn({
        let (checker, node) = (checker.clone(), node.clone());
        async move { api(&checker, &node).await }
    });
    until(|| server.requests().len() == 1).await;
    checker.reset(node.id);
    gate.add_permits(1);
    assert_eq!(last.await.unwrap(), VERSION);
    checker.reset(7);
    assert!(checker.slots().is_empty());
}

#[tokio::test]
async fn a_node_that_points_elsewhere_starts_with_a_new_connection() {
    let server = Fake::answering(good).await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    assert_eq!(api(&checker, &node).await, VERSION);
    let renamed = Node { name: "other".into(), ..node.clone() };
    assert_eq!(api(&checker, &renamed).await, VERSION);
    assert_eq!(server.connections(), 1);
    let with_login = Node { username: Some("u".into()), ..node.clone() };
    assert_eq!(api(&checker, &with_login).await, VERSION);
    assert_eq!(server.connections(), 2);
}
