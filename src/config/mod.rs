//! Settings: what they are, and how they are read.

mod settings;

pub use settings::*;
