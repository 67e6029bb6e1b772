//! `ETag`, 304 and compression of the two lists.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::Method;

use crate::nodes::{SOON, node};
use crate::support::{Answer, Warden, WardenConfig, ports};

async fn get_with(warden: &Warden, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = warden.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    warden.send(request).await
}

/// A service whose lists stand still: each node is looked at once, then not for an hour.
async fn still() -> Warden {
    let mut config = WardenConfig::default()
        .set("nodes.interval", "1h")
        .set("nodes.method", "pid")
        .set("migrations.interval", "1h");
    for i in 0..60 {
        config = config.node(node(&format!("node-{i}"), ports::free_port()));
    }
    let warden = Warden::start(config).await;
    warden
        .until("/nodes/status", SOON, |answer| {
            let nodes = answer.json["nodes"].as_array()?;
            nodes.iter().all(|node| node["state"] == "down").then_some(())
        })
        .await;
    warden
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let warden = still().await;
    for path in ["/nodes/status", "/migrations"] {
        let first = get_with(&warden, path, &[]).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.ends_with('"'), "{path}: {:?}", first.headers);
        assert_eq!(first.header("cache-control"), "no-cache", "{path}");
        assert!(first.header("vary").to_lowercase().contains("accept-encoding"), "{path}");
        assert!(first.header("content-encoding").is_empty());

        let weak = format!("W/{etag}");
        let list = format!("\"other\", {etag}");
        for tag in [&etag, &weak, &list, "*"] {
            let again = get_with(&warden, path, &[("if-none-match", tag)]).await;
            assert_eq!(again.status, 304, "{path} {tag}");
            assert!(again.body.is_empty());
            assert_eq!(again.header("etag"), etag);
            assert_eq!(again.header("cache-control"), "no-cache");
            assert!(again.header("vary").to_lowercase().contains("accept-encoding"));
        }
        assert_eq!(get_with(&warden, path, &[("if-none-match", "\"other\"")]).await.status, 200);
    }
}

#[tokio::test]
async fn each_encoding_has_its_own_etag() {
    let warden = still().await;
    let plain = get_with(&warden, "/nodes/status", &[]).await;
    let packed = get_with(&warden, "/nodes/status", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 2, "{} bytes", packed.body.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert_ne!(packed.header("etag"), plain.header("etag"));

    let crossed = [("accept-encoding", "gzip"), ("if-none-match", plain.header("etag"))];
    assert_eq!(get_with(&warden, "/nodes/status", &crossed).await.status, 200);
    let refused = [("accept-encoding", "gzip;q=0, identity")];
    let answer = get_with(&warden, "/nodes/status", &refused).await;
    assert!(answer.header("content-encoding").is_empty());
    let packed = get_with(&warden, "/nodes/status", &[("accept-encoding", "gzip, zstd")]).await;
    assert_eq!(packed.header("content-encoding"), "zstd");
    assert_eq!(zstd::bulk::decompress(&packed.body, plain.body.len()).unwrap(), plain.body);
    let known = [("accept-encoding", "zstd"), ("if-none-match", packed.header("etag"))];
    assert_eq!(get_with(&warden, "/nodes/status", &known).await.status, 304);
    // Compact on the wire.
    assert!(!plain.body.contains(&b'\n') && !plain.body.windows(2).any(|pair| pair == b"\": "));
}

#[tokio::test]
async fn a_change_changes_the_etag() {
    let warden = still().await;
    let first = warden.get("/nodes/status").await;
    let etag = first.header("etag").to_owned();
    assert_eq!(warden.delete("/nodes/node-7").await.status / 100, 2);
    warden
        .until("/nodes/status", SOON, |answer| {
            (answer.json["total"] == 59 && answer.header("etag") != etag).then_some(())
        })
        .await;
    let answer = get_with(&warden, "/nodes/status", &[("if-none-match", &etag)]).await;
    assert_eq!(answer.status, 200);
}
