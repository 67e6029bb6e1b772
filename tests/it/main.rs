//! The service from outside: the real binary, real `monero-wallet-rpc` and `monerod`, real processes and lock files.
//!
//! One binary, so that it is linked once. `support` starts things and looks at them; every other module is a theme.
//! Nothing here sleeps for a fixed time: what takes a while is polled with a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, helpers included"
)]

mod adopt;
mod alerts;
mod cli;
mod events;
mod failover;
mod faults;
mod fleet;
mod history;
mod house;
mod http;
mod metrics;
mod migrations;
mod nodes;
mod packaging;
mod soak;
mod stress;
mod support;
