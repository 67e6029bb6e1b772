//! The tools themselves, on real servers: a test that stands on a broken one proves nothing.

use super::kernel;
use super::monerod::Monerod;
use super::poll::eventually;
use super::wallet::{Wallet, WalletOptions};
use std::time::Duration;

#[tokio::test]
async fn a_wallet_server_is_what_the_kernel_says_it_is() {
    let mut wallet = Wallet::start().await;
    assert!(kernel::listens(wallet.pid(), wallet.port()));
    assert!(!kernel::listens(i32::try_from(std::process::id()).unwrap(), wallet.port()));
    let answer = wallet.call("get_version", serde_json::json!({}), Duration::from_secs(20)).await;
    assert!(answer["result"]["version"].is_i64(), "{answer:#}");
    wallet.stop().await;
    assert_eq!(kernel::state(wallet.pid()), Some('T'));
    wallet.cont();
    let mut second =
        Wallet::launch(&WalletOptions { port: Some(wallet.port()), ..Default::default() });
    assert_eq!(second.wait_exit(Duration::from_mins(1)).await.code(), Some(1));
    wallet.kill_unreaped().await;
    assert!(!kernel::listens(wallet.pid(), wallet.port()));
    wallet.reap();
    assert_eq!(kernel::state(wallet.pid()), None);
}

#[tokio::test]
async fn two_daemons_run_side_by_side_and_connections_are_counted() {
    let (one, two) = (Monerod::start().await, Monerod::start().await);
    assert_ne!(one.pid(), two.pid());
    assert_eq!(kernel::peers(one.port()), Vec::<u16>::new());
    let connection = std::net::TcpStream::connect(("127.0.0.1", one.port())).unwrap();
    let port = connection.local_addr().unwrap().port();
    assert_eq!(kernel::peers(one.port()), [port]);
    drop(connection);
    eventually(Duration::from_secs(20), || async {
        match kernel::peers(one.port()).as_slice() {
            [] => Ok(()),
            from => Err(format!("connections from {from:?}")),
        }
    })
    .await;
}
