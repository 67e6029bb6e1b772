//! What `fuzz/` gives any bytes: the parsers of what others write, private otherwise. Only with the feature `fuzz`, and in
//! tests.

#[cfg(test)]
mod tests;

/// Reads bytes; panics where it must not.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 7] = [
    ("lock", crate::locks::fuzz::lock),
    ("stat", crate::process::fuzz::stat),
    ("challenge", crate::checker::fuzz::challenge),
    ("head", crate::checker::fuzz::head),
    ("answer", crate::checker::fuzz::answer),
    ("query", crate::http::fuzz::query),
    ("config", crate::config::fuzz::config),
];
