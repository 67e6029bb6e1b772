//! Living beside what was there before: tables that are not ours, read and, if that is wanted, kept in agreement.

mod book;

pub use book::Book;
