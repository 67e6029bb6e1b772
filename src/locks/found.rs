//! A lock of ours, with what was read of it.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::domain::Key;
use crate::domain::migration::{DirMark, Lock};
use crate::mask::mask_json;

/// A lock of ours, with what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLock {
    /// Whose it is.
    pub key: Key,
    /// What is judged.
    pub lock: Lock,
    /// The bytes that were judged, at most 64 KiB.
    pub content: Arc<[u8]>,
    /// The directory that it was found in.
    pub dir: DirMark,
    /// Its name is the one that its key's lock has.
    pub(super) own_name: bool,
    pub(super) shown: Shown,
}

impl FoundLock {
    /// The JSON object with secrets masked; none if it cannot be read, or if there is nothing in it.
    #[must_use]
    pub fn data(&self) -> Option<Arc<Map<String, Value>>> {
        self.masked().map(|masked| Arc::clone(&masked.data))
    }

    /// The same as text.
    #[must_use]
    pub fn text(&self) -> Option<Arc<str>> {
        self.masked().map(|masked| Arc::clone(&masked.text))
    }

    fn masked(&self) -> Option<&Masked> {
        if !self.shown.is_object {
            return None;
        }
        let masked = self.shown.masked.get_or_init(|| {
            let data = mask_json(serde_json::from_slice(&self.content).ok()?);
            let text = serde_json::to_string(&data).ok()?.into();
            Some(Masked { data: Arc::new(data), text })
        });
        masked.as_ref()
    }
}

/// What is shown of a content. It is made when it is first asked for, since it costs several times what judging does.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// The content is an object with something in it.
    pub(super) is_object: bool,
    masked: OnceLock<Option<Masked>>,
}

impl Shown {
    pub(super) fn of(is_object: bool) -> Self {
        Self { is_object, masked: OnceLock::new() }
    }
}

/// It follows from the content, so whether it was made yet makes no difference.
impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.is_object == other.is_object
    }
}

#[derive(Debug, Clone)]
struct Masked {
    data: Arc<Map<String, Value>>,
    text: Arc<str>,
}
