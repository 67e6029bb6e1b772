//! For `fuzz/`: query strings, and the cursor of the event stream.

#![allow(clippy::missing_panics_doc)] // A panic is how a target tells what it found.

use super::query::{Params, whole};
use crate::events::cursor::Cursor;
use crate::history::place;

/// Reads text as what stands after `?`.
pub fn query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let params = Params::parse(Some(&text));
    for name in ["method", "limit", "scope", "force", "a", ""] {
        let _ = params.method();
        let _ = params.flag(name);
        let _ = params.switch(name);
        let _ = params.words(name, &["database", "nodes"]);
        if let Ok(Some(number)) = params.number(name, 1, 1000) {
            assert!((1..=1000).contains(&number));
        }
    }
    let _ = (whole(&text, 0, i64::MAX), place(&text), Cursor::parse(&text));
}
