//! The directory, with real files.
