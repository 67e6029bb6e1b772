//! A service manager that listens, as systemd does for `Type=notify` with a watchdog.

use std::os::unix::net::UnixDatagram;

use super::SOON;
use crate::support::{Warden, WardenConfig};

fn heard(listener: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let length = listener.recv(&mut text).expect("something is said");
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[tokio::test]
async fn it_says_that_it_is_ready_that_it_turns_and_that_it_ends() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let config = WardenConfig::default()
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "400000");
    let mut warden = Warden::start(config).await;
    assert_eq!(heard(&listener), "READY=1");
    assert_eq!([heard(&listener), heard(&listener)], ["WATCHDOG=1"; 2]);
    warden.sigterm();
    let mut last = heard(&listener);
    while last == "WATCHDOG=1" {
        last = heard(&listener);
    }
    assert_eq!(last, "STOPPING=1");
    assert_eq!(warden.wait_exit().await.code(), Some(0), "{}", warden.log());
}

#[tokio::test]
async fn a_manager_that_is_gone_stops_nobody() {
    let config = WardenConfig::default().env("NOTIFY_SOCKET", "/nowhere/notify");
    let mut warden = Warden::start(config).await;
    assert_eq!(warden.stop().await.code(), Some(0), "{}", warden.log());
    assert!(warden.log().contains("cannot be told"), "{}", warden.log());
}
