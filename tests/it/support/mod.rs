//! What the tests stand on. Each file does one job; none judges the service.
#![allow(dead_code, reason = "a toolbox: not every tool is used in every feature set")]

pub mod db;
pub mod fake;
pub mod job;
pub mod kernel;
pub mod monerod;
pub mod poll;
pub mod ports;
pub mod program;
pub mod raw;
pub mod shape;
#[cfg(test)]
mod tests;
pub mod wallet;
pub mod warden;

pub use poll::eventually;
pub use wallet::Wallet;
pub use warden::{Answer, Warden, WardenConfig};
