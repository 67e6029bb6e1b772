//! An installation that lives already: what is theirs is read as they wrote it.

mod nodes;
mod secrets;
