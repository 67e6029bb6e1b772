//! The rules of the house that a compiler does not know: who may name what, and where.

mod rules;
mod security;
mod source;
