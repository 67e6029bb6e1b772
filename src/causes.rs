//! An error with all its causes in one line, for logs and terminals.

use std::error::Error;

/// The error, then each cause that it does not say already, joined by `: `.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open it")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_once() {
        let inner = std::io::Error::other("no such file");
        assert_eq!(chain(&Outer(inner)), "cannot open it: no such file");
        assert_eq!(chain(&std::io::Error::other("alone")), "alone");
    }
}
