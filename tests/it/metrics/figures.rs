//! What stands at `/metrics`, in both formats, as the real promtool reads it.

use std::io::Read as _;

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::json;

use super::SOON;
use crate::nodes::{becomes, node};
use crate::support::job::Lock;
use crate::support::ports::free_port;
use crate::support::program::Program;
use crate::support::promtool::{check_metrics, check_open_metrics};
use crate::support::{Answer, Wallet, Warden, WardenConfig};

const OPEN: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// What a name of a node may hold at worst.
const HOSTILE: &str = "a\"} 1 \\ <b>x<b> {{.}} \u{202e}évil\\n#";

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
    String::from_utf8(answer.body.clone()).unwrap()
}

async fn open(warden: &Warden, path: &str) -> Answer {
    warden.send(warden.request(Method::GET, path).header("accept", OPEN)).await
}

#[tokio::test]
async fn both_formats_are_what_prometheus_reads_whatever_nodes_are_called() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .set("server.base_paths", json!(["/dashboard/api"]))
        .node(node("works", wallet.port()))
        .node(node("closed", free_port()))
        .node(node(HOSTILE, free_port()));
    let warden = Warden::start(config).await;
    let job = Program::sleeper(warden.dir());
    Lock::new(7, job.pid()).write(&warden.lock_dir());
    becomes(&warden, "works", "up", None).await;
    becomes(&warden, "closed", "down", Some("port_closed")).await;
    becomes(&warden, HOSTILE, "down", Some("port_closed")).await;
    let answer = warden
        .until("/metrics", SOON, |answer| {
            let text = String::from_utf8_lossy(&answer.body);
            let line = "procwarden_migrations{status=\"in_progress\",state=\"alive\"} 1\n";
            text.contains(line).then(|| answer.body.clone())
        })
        .await;
    let older = String::from_utf8(answer).unwrap();
    check_metrics(&older);
    for line in [
        "procwarden_node_up{node=\"works\"} 1",
        "procwarden_node_up{node=\"closed\"} 0",
        "procwarden_node_up{node=\"a\\\"} 1 \\\\ <b>x<b> {{.}} \u{202e}évil\\\\n#\"} 0",
        "procwarden_node_state{node=\"works\",state=\"up\",reason=\"\"} 1",
        "procwarden_node_state{node=\"closed\",state=\"down\",reason=\"port_closed\"} 1",
        "procwarden_nodes{state=\"down\"} 2",
        "procwarden_nodes{state=\"stale\"} 0",
        "procwarden_locks 1",
        "procwarden_store_up 1",
        "procwarden_store_errors_total 0",
        "procwarden_record_fresh{part=\"nodes\"} 1",
        "procwarden_tick_interval_seconds{loop=\"nodes\"} 0.300",
        "procwarden_tick_interval_seconds{loop=\"migrations\"} 0.200",
    ] {
        assert!(older.lines().any(|it| it == line), "{line} is not in\n{older}");
    }
    for part in [
        "procwarden_node_latency_seconds{node=\"works\"} 0.",
        "procwarden_ticks_total{loop=\"nodes\"}",
        "procwarden_loop_lag_seconds{loop=\"migrations\"}",
        "procwarden_queue_length{queue=\"slow_lane\"}",
        "process_resident_memory_bytes ",
        "process_start_time_seconds 1",
    ] {
        assert!(older.contains(part), "{part} is not in\n{older}");
    }
    assert!(!older.contains("procwarden_node_latency_seconds{node=\"closed\"}"));
    let labels: Vec<&str> =
        older.lines().filter_map(|line| line.split_once('{')).map(|it| it.1).collect();
    assert!(labels.len() > 20, "{older}");
    let port = wallet.port().to_string();
    for secret in [&port, &job.pid().to_string(), "127.0.0.1", "http", "://", "Port is not", "API"]
    {
        let with: Vec<_> =
            labels.iter().filter(|it| it.split("} ").next().unwrap().contains(secret)).collect();
        assert!(with.is_empty(), "{secret} is in {with:?}");
    }

    let answer = open(&warden, "/dashboard/api/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
    let newer = text(&answer);
    assert!(
        newer.ends_with("\n# EOF\n")
            && newer.contains("# UNIT procwarden_node_latency_seconds seconds\n")
    );
    check_open_metrics(&newer);
}

#[tokio::test]
async fn it_is_packed_for_those_who_ask() {
    let warden = Warden::start(WardenConfig::default()).await;
    let plain = warden.get("/metrics").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!((plain.header("content-encoding"), plain.header("cache-control")), ("", "no-store"));
    let request = warden.request(Method::GET, "/metrics").header("accept-encoding", "zstd, gzip");
    let packed = warden.send(request).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = String::new();
    GzDecoder::new(packed.body.as_slice()).read_to_string(&mut unpacked).unwrap();
    check_metrics(&unpacked);
}

#[tokio::test]
async fn reading_it_follows_the_rules_of_other_reads() {
    let warden = Warden::start(WardenConfig::default().set("server.read_token", "reader")).await;
    assert_eq!(warden.get("/metrics").await.status, 401);
    let read = warden.send(warden.request(Method::GET, "/metrics").bearer_auth("reader")).await;
    check_metrics(&text(&read));
    let wrong = warden.request(Method::GET, "/metrics?scope=all").bearer_auth("reader");
    let wrong = warden.send(wrong).await;
    assert_eq!((wrong.status, &wrong.json["parameter"]), (400, &json!("scope")));
    let write = warden.send(warden.request(Method::POST, "/metrics")).await;
    assert_eq!(write.status, 405);
}
