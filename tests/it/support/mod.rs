//! What the tests stand on. Each file does one job; none judges the service.
#![allow(dead_code, reason = "a toolbox: not every tool is used in every feature set")]

pub mod authority;
pub mod canary;
pub mod database;
pub mod db;
pub mod engine;
pub mod fake;
pub mod galera;
pub mod guardian;
pub mod haproxy;
pub mod job;
pub mod kernel;
pub mod light;
pub mod mariadb;
pub mod monerod;
pub mod nginx;
pub mod old_monitor;
pub mod owner;
pub mod pgbouncer;
pub mod php;
pub mod poll;
pub mod ports;
pub mod postgres;
pub mod program;
pub mod prometheus;
pub mod promtool;
pub mod raw;
pub mod receiver;
pub mod server;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod setup_tests;
pub mod shape;
pub mod smtp;
pub mod sql;
pub mod template;
#[cfg(test)]
mod tests;
pub mod theirs;
pub mod wallet;
pub mod warden;
pub mod warden_config;

pub use engine::Engine;
pub use poll::eventually;
pub use wallet::Wallet;
pub use warden::{Answer, Warden};
pub use warden_config::WardenConfig;
