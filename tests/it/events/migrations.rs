//! The end of a migration's process: told at once, judged as ever.
