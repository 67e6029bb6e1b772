//! Beside what was there before: its tables, its locks, its monitor.

mod migrations;
mod secrets;
