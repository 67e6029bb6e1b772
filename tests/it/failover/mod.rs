//! The database goes away and comes back: what is told meanwhile, and what is recorded after it.

mod conflicts;
mod fleet;
mod frozen;
mod galera;
mod network;
pub mod own;
mod pooler;
pub mod proxy;
mod refused;
mod replica;
mod scene;
mod secrets;
mod stopped;
mod switch;
mod writes;

use std::time::Duration;

/// Longest wait for what happens within seconds, on a machine that is busy with other servers.
const SOON: Duration = Duration::from_mins(1);
