//! Living beside what was there before: tables that are not ours, read and, if that is wanted, kept in agreement.
//!
//! `mirror` says what of their nodes is taken over, `tell` what is written back, `difference` what is reported, all three
//! pure; `nodes` is the task that does it. Migrations have their own reconciler; `book` keeps what both found.

mod book;
mod difference;
mod mirror;
mod nodes;
mod tell;

pub use book::Book;
pub use difference::{OfNode, differences};
pub use mirror::{LeftOut, Taken, plan, take};
pub use nodes::{AdoptError, Nodes};
pub use tell::Tellings;
