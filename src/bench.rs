//! What `benches/micro.rs` measures and what is private otherwise; only with the feature `bench`.

pub use crate::checker::bench as checker;
pub use crate::http::bench as http;
pub use crate::locks::bench as locks;
pub use crate::process::bench as process;
