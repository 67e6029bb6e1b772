//! The migration reconciler.

mod handle;

pub use handle::{Handle, Inspection, RequestError, Taken, Target};
