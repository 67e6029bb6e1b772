//! `kill -9` at every step, and what a restart makes of it.
