//! A migration that has a row in a table which is not ours: what that row says, what follows for ours, and what ours
//! says there. Pure.

mod difference;
mod record;
mod rewrite;
mod settle;

pub use difference::{Code, Difference, Situation, called_dead, differences, lock_gone};
pub use record::{Fault, Record, Said};
pub use rewrite::{NoRoom, Room, with_error};
pub use settle::{first, is_known, is_of_another, settle, take_over};
