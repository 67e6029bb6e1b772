//! SQLite's file when its disk is full, and when it may not be written.
