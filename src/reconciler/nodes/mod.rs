//! The node reconciler.

mod handle;

pub use handle::Handle;
