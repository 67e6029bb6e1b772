//! `kill -9` at every step, and what a restart makes of it; races that only a fail point can set up.
#![cfg(feature = "failpoints")]

mod batches;
mod clocks;
mod database;
mod kill;
mod matrix;
mod races;
