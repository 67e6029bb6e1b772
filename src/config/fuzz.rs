//! For `fuzz/`: the configuration, as a file and as a `.env`.

#![allow(clippy::missing_panics_doc)] // A panic is how a target tells what it found.

use std::path::Path;

use super::sources::{Gathered, env_lines};
use super::{Settings, node_entry, read};

/// Reads text as both; no file that it names is opened.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut found = Gathered::default();
    found.toml(Path::new("/nowhere/procwarden.toml"), text, true);
    let mut faults = std::mem::take(&mut found.faults);
    let mut settings = Settings::default();
    let origins = read::read_settings(&found, &mut settings, &mut faults);
    assert!(!origins.is_empty());
    let _ = node_entry::read(&found.nodes, &mut faults);
    for fault in &faults {
        assert!(!fault.to_string().is_empty());
    }
    let _ = env_lines(text);
}
