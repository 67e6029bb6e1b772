//! Beside the systems that were there before: their clients, their tables, their secrets.

mod front;
mod missing;
