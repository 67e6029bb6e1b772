//! What is held of a node between two checks, and what ends it.

use super::*;
use crate::domain::{Identity, Kind, Service};
use tokio::sync::Notify;

const VERSION: ApiSeen = ApiSeen::Version(65561);

/// Lets the reactor take in what has come for everybody: a whole check of another node passes through it.
async fn let_it_sink_in(checker: &Checker) {
    let other = Fake::answering(good).await;
    let elsewhere = Node { id: 99, port: other.port, ..node(other.port) };
    assert_eq!(api(checker, &elsewhere).await, VERSION);
    checker.reset(elsewhere.id);
}

/// A server that does something more to a connection that rests, when it is told to, and then tells.
async fn restless(more: &'static str) -> (Fake, [Arc<Notify>; 2]) {
    let signals = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let held = signals.clone();
    let server = Fake::start(move |mut client| {
        let [told, done] = held.clone();
        async move {
            while let Some(request) = client.request().await {
                client.send(good(&request)).await;
                if client.number == 0 {
                    told.notified().await;
                    client.send(more).await;
                    done.notify_one();
                    if more.is_empty() {
                        return;
                    }
                }
            }
        }
    })
    .await;
    (server, signals)
}

#[tokio::test]
async fn what_came_or_ended_at_rest_is_found_before_anything_is_sent() {
    let unasked = "HTTP/1.1 200 Ok\r\nContent-Length: 55\r\n\r\n\
                   {\"id\":\"procwarden-2\",\"jsonrpc\":\"2.0\",\"result\":{}}  ";
    for more in [unasked, "x", ""] {
        let (server, [tell, done]) = restless(more).await;
        let (checker, node) = (checker(LIMITS), node(server.port));
        assert_eq!(api(&checker, &node).await, VERSION);
        tell.notify_one();
        done.notified().await;
        let_it_sink_in(&checker).await;
        assert_eq!(api(&checker, &node).await, VERSION, "{more:?}");
        let seen = (server.connections(), server.requests().len());
        assert_eq!(seen, (2, 2), "no request was lost on the first one: {more:?}");
        let_it_sink_in(&checker).await;
        assert_eq!(api(&checker, &node).await, VERSION);
        assert_eq!(server.connections(), 2, "the new one is kept");
    }
}

#[tokio::test]
async fn a_connection_rests_only_if_nothing_of_its_answer_is_left_and_the_server_goes_on() {
    let with = |head: &'static str, after: &'static str| {
        move |request: &str| {
            let body = good(request).split_once("\r\n\r\n").unwrap().1.to_owned();
            let head = head.replace("LENGTH", &body.len().to_string());
            let body = if head.contains("chunked") {
                format!("{:x}\r\n{body}\r\n0\r\n", body.len())
            } else {
                body
            };
            format!("{head}\r\n\r\n{body}{after}")
        }
    };
    let table = [
        ("HTTP/1.1 200 Ok\r\nContent-Length: LENGTH", "", 1),
        ("HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 Ok\r\nContent-Length: LENGTH", "", 1),
        ("HTTP/1.0 200 Ok\r\nConnection: Keep-Alive\r\nContent-Length: LENGTH", "", 1),
        ("HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked", "\r\n", 1),
        ("HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked", "A: b\r\n\r\n", 2),
        ("HTTP/1.1 200 Ok\r\nConnection: close\r\nContent-Length: LENGTH", "", 2),
        ("HTTP/1.0 200 Ok\r\nContent-Length: LENGTH", "", 2),
        ("HTTP/1.1 200 Ok\r\nContent-Length: LENGTH", "more", 2),
    ];
    for (head, after, connections) in table {
        let server = Fake::answering(with(head, after)).await;
        let (checker, node) = (checker(LIMITS), node(server.port));
        for _ in 0..2 {
            assert_eq!(api(&checker, &node).await, VERSION, "{head} {after}");
        }
        assert_eq!(server.connections(), connections, "{head} {after}");
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let server = Fake::start(|mut client| async move {
        if let Some(request) = client.request().await {
            let body = good(&request).split_once("\r\n\r\n").unwrap().1.to_owned();
            client.send(format!("HTTP/1.1 200 Ok\r\n\r\n{body}")).await;
        }
    })
    .await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    for connections in 1..=2 {
        assert_eq!(api(&checker, &node).await, VERSION);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn who_has_no_place_is_connected_to_each_time_until_one_is_free() {
    let (first, second) = (Fake::answering(good).await, Fake::answering(good).await);
    let checker = keeping(LIMITS, 1);
    let (a, b) = (node(first.port), Node { id: 2, ..node(second.port) });
    for round in 1..=3 {
        assert_eq!(api(&checker, &a).await, VERSION);
        assert_eq!(api(&checker, &b).await, VERSION);
        assert_eq!((first.connections(), second.connections()), (1, round));
    }
    checker.reset(a.id);
    for _ in 0..2 {
        assert_eq!(api(&checker, &b).await, VERSION);
        assert_eq!(second.connections(), 4, "the place that was given back is taken");
    }
    assert_eq!(api(&checker, &a).await, VERSION);
    assert_eq!(api(&checker, &b).await, VERSION);
    assert_eq!((first.connections(), second.connections()), (2, 4));
}

#[tokio::test]
async fn a_newer_look_outdates_the_answer_that_people_got() {
    let server = Fake::answering(good).await;
    let (checker, node) = (checker(LIMITS), node(server.port));
    checker.live(&shared(&node), Method::Api).await;
    checker.check(&shared(&node), Method::Api).await;
    checker.live(&shared(&node), Method::Api).await;
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_slot_serves_the_node_it_was_made_for_whatever_else_is_known_of_it() {
    let full = Node {
        title: Some("t".into()),
        daemon: Some("d".into()),
        pid: Some(1),
        pid_file: Some("/run/f".into()),
        placement: Some("p".into()),
        identity: Some(Identity {
            boot_id: "b".into(),
            pid_ns: 1,
            pid: 1,
            start_ticks: Some(1),
            inode: Some(1),
        }),
        ..with_login(1, "u", "p")
    };
    let slot = Slot::new(&shared(&full), None);
    assert!(slot.serves(&full));
    let renamed = Node { name: "other".into(), title: None, identity: None, ..full.clone() };
    assert!(slot.serves(&renamed));
    for other in [
        Node { host: "h".into(), ..full.clone() },
        Node { port: 2, ..full.clone() },
        Node { tls: Tls::Verify, ..full.clone() },
        Node { username: None, ..full.clone() },
        Node { password: None, ..full.clone() },
        Node { pid: None, ..full.clone() },
        Node { pid_file: None, ..full.clone() },
        Node { process_name: "x".into(), ..full.clone() },
        Node { service: Service::new(Kind::Monerod, [].into()), ..full.clone() },
        Node { available: false, ..full.clone() },
    ] {
        assert!(!slot.serves(&other), "{other:?}");
    }
}
