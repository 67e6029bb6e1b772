//! procwarden keeps what a database says about processes in agreement with the processes themselves.
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod failpoint;
pub mod locks;
pub mod mask;
pub mod monitor;
pub mod process;
pub mod snapshot;
pub mod store;
pub mod telemetry;
