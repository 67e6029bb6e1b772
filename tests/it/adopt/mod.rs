//! Beside what was there before: its tables, its locks, its monitor, its clients.

mod beside;
mod crash;
mod front;
mod migrations;
mod missing;
mod nodes;
mod runs;
mod secrets;
