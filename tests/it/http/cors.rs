//! CORS: off by default; when on, the headers that the migration dashboard sends.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Warden, WardenConfig};

const ORIGIN: &str = "https://dashboard.example";

async fn preflight(warden: &Warden, path: &str, header: &str) -> Answer {
    let request = warden
        .request(Method::OPTIONS, path)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", header);
    warden.send(request).await
}

#[tokio::test]
async fn off_by_default() {
    let warden = Warden::start(WardenConfig::default()).await;
    let answer =
        warden.send(warden.request(Method::GET, "/nodes/status").header("origin", ORIGIN)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let answer = preflight(&warden, "/nodes/status", "authorization").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn on_for_one_origin() {
    let config = WardenConfig::default().set("server.cors_origins", json!([ORIGIN]));
    let warden = Warden::start(config).await;
    for header in ["authorization", "x-dashboard-session", "if-none-match", "last-event-id"] {
        let answer = preflight(&warden, "/nodes/status", header).await;
        assert_eq!(answer.status / 100, 2, "{header}");
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{header}");
        let allowed = answer.header("access-control-allow-headers").to_lowercase();
        assert!(allowed.contains(header), "{header} is not in {allowed}");
    }
    let other =
        warden.request(Method::GET, "/nodes/status").header("origin", "https://elsewhere.example");
    let answer = warden.send(other).await;
    assert_ne!(answer.header("access-control-allow-origin"), "https://elsewhere.example");

    // Health is outside of it: OPTIONS says the health there, never a preflight's own 200.
    let answer = preflight(&warden, "/health", "authorization").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(answer.header("cache-control"), "no-store");
}
