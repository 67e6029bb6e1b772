//! Migrations with real child processes and lock files.
