//! The rules of the house that a compiler does not know: who may name what, and where.

mod documents;
mod rules;
mod security;
mod source;
