//! The small parts that run often, one at a time: `cargo bench --features bench`. What they add up to is what
//! `scripts/bench` measures.

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use procwarden::bench::checker::Digest;
use procwarden::bench::{http, locks, process};
use procwarden::domain::observation::{ApiFacts, ApiSeen};
use procwarden::domain::time::Now;
use procwarden::domain::verdict::{Thresholds, Verdict, evaluate};
use procwarden::domain::{Method, Node, Observation, Timestamp, Uptime};
use procwarden::snapshot::{NodeView, NodesPart, Published, Standing};

const LOCK: &[u8] = br#"{
    "mb_project_uuid": "3c56530e-ca31-4a7c-964f-e69be01f382a",
    "brz_project_id": 23131991,
    "pid": 48213,
    "started_at": "2026-01-15 10:30:45",
    "started_timestamp": 1736937045,
    "current_stage": "pages",
    "stage_updated_at": 1736937305,
    "total_pages": 42,
    "processed_pages": 17,
    "progress_percent": 40.48
}"#;

const STAT: &[u8] = b"48213 (php) S 1 48213 48213 0 -1 4194560 1051 0 0 0 3 1 0 0 20 0 1 0 8675309 14512128 1200 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

const CHALLENGE: &str = "Digest qop=\"auth\",algorithm=MD5,realm=\"monero-rpc\",\
                         nonce=\"vgWVLCuF+mGnTWAVJHHdUw==\",stale=false";

fn main() {
    divan::main();
}

fn now() -> Now {
    Now { wall: Timestamp(1_736_937_345_000), up: Uptime(7_000_000) }
}

fn node(id: i64) -> Node {
    Node { id, ..Node::new(format!("node-{id}"), "127.0.0.1", 18082, "bench") }
}

fn seen(node: &Node) -> Observation {
    Observation::Api(ApiFacts {
        url: node.url().into(),
        seen: ApiSeen::Version(65_562),
        latency: Some(Duration::from_millis(2)),
        unreadable: None,
        silence: None,
    })
}

fn verdict(node: &Node) -> Verdict {
    evaluate(node, &Verdict::default(), &seen(node), Thresholds::default(), now())
}

fn part(count: i64) -> NodesPart {
    let view = |id| {
        let node = node(id);
        Arc::new(NodeView { verdict: verdict(&node), node: node.into(), standing: Standing::Mine })
    };
    NodesPart {
        nodes: (1..=count).map(view).collect(),
        window: Duration::from_mins(2),
        valid_until: Uptime(i64::MAX),
        persisted: true,
        passed: true,
        ..NodesPart::default()
    }
}

/// One look at a node that works and worked before, made a verdict.
#[divan::bench]
fn evaluate_a_look(bencher: Bencher<'_, '_>) {
    let node = node(7);
    let (previous, observation) = (verdict(&node), seen(&node));
    assert_eq!(previous.method, Some(Method::Api));
    bencher.bench_local(|| {
        evaluate(black_box(&node), &previous, black_box(&observation), Thresholds::default(), now())
    });
}

/// The content of a lock as PHP writes it.
#[divan::bench]
fn parse_a_lock() -> bool {
    locks::parses(black_box(LOCK))
}

/// A line of `/proc/PID/stat`.
#[divan::bench]
fn parse_a_stat() -> Option<u64> {
    process::start_ticks(black_box(STAT))
}

/// The next request of a connection whose nonce is known.
#[divan::bench]
fn answer_by_digest(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| Digest::new(CHALLENGE))
        .bench_local_refs(|digest| digest.as_mut().map(Digest::answer));
}

/// A snapshot of so many nodes, swapped in.
#[divan::bench(args = [1_000, 10_000])]
fn publish_nodes(bencher: Bencher<'_, '_>, count: i64) {
    let published = Published::default();
    let part = part(count);
    bencher.with_inputs(|| part.clone()).bench_local_values(|part| published.publish_nodes(part));
}

/// The body of `/nodes/status` from nothing.
#[divan::bench(args = [1_000, 10_000])]
fn build_nodes_status(bencher: Bencher<'_, '_>, count: i64) {
    let part = part(count);
    bencher.bench_local(|| http::nodes_status(black_box(&part)));
}
