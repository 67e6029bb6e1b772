//! For the micro-benchmarks: the parser of a lock.

/// Reads a lock's content; is it one?
#[must_use]
pub fn parses(content: &[u8]) -> bool {
    super::parse::content(content).is_ok()
}
