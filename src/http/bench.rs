//! For the micro-benchmarks: the body of `/nodes/status`.

use std::collections::HashMap;

use crate::domain::Uptime;
use crate::snapshot::NodesPart;

/// Makes the body of these nodes with its mark, nothing compressed.
#[must_use]
pub fn nodes_status(part: &NodesPart) -> impl Sized {
    super::nodes_status::render(part, &HashMap::new(), "bench", Uptime::default())
}
