//! For `fuzz/`: the parser of a lock.

#![allow(clippy::missing_panics_doc)] // A panic is how a target tells what it found.

use super::parse;
use crate::domain::migration::MAX_PROJECT_ID;

/// Reads bytes as a lock's content, and as its name.
pub fn lock(bytes: &[u8]) {
    let keys = [
        parse::content(bytes).ok().and_then(|parsed| parsed.key()),
        std::str::from_utf8(bytes).ok().and_then(parse::name),
    ];
    for key in keys.into_iter().flatten() {
        assert!((1..=MAX_PROJECT_ID).contains(&key.brz_project_id));
        assert!(parse::is_canonical(&parse::canonical_name(&key), &key));
    }
}
