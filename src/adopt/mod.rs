//! A living installation of others: its tables are watched, and kept in agreement with the processes.
//!
//! `mirror` says what of their nodes is taken over, `tell` what is written back, `difference` what is reported; `nodes`
//! is the task that does it. The first three are pure.

mod difference;
mod mirror;
mod nodes;
mod tell;

pub use difference::{Compared, NodeDifference};
pub use mirror::{LeftOut, Taken, plan, take};
pub use nodes::{AdoptError, Differences, Nodes};
pub use tell::Tellings;
