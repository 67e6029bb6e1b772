//! What is said of `database.url` never holds its secrets.

use super::own::Own;
use super::scene::config;
use crate::support::Warden;

/// The driver logs parameters that it does not know, with their values.
#[tokio::test]
async fn a_mistyped_parameter_is_named_without_its_value() {
    let Some(server) = Own::start() else { return };
    let url = format!("{}?pasword=letmein%211&connect_timeout=3", server.url());
    let warden = Warden::start(config(&url).set("log.level", "trace")).await;
    let log = warden.log();
    assert!(!log.contains("letmein"), "{log}");
    if server.is_postgres() {
        assert!(log.contains("pasword") && log.contains("not known"), "{log}");
    }
}
