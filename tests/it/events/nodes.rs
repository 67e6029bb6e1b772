//! The end of a node's process: its check comes at once.
