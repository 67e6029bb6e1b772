//! Text of somebody else made harmless wherever it is shown as plain text: in a terminal, in a mail, in an alert.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Control characters, which a terminal obeys and a header breaks at, and characters that reorder or hide others.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// Zero-width and bidirectional controls, line and paragraph separators (Unicode UAX #9, section 2).
const fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text with every character of which `harmful` says so written as an escape.
#[must_use]
pub fn escaped(text: &str, harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harmful(c) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// The text on one line, harmless, and of at most `limit` characters, the last of which says that there was more.
#[must_use]
pub fn plain(text: &str, limit: usize) -> String {
    let escaped = escaped(text, is_harmful);
    if escaped.chars().count() <= limit {
        return escaped.into_owned();
    }
    let kept = limit.saturating_sub(1);
    escaped.chars().take(kept).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_obeyed_is_escaped_and_what_is_read_stays() {
        assert_eq!(plain("a\r\nBcc: b@c\u{1b}[2J", 99), "a\\r\\nBcc: b@c\\u{1b}[2J");
        assert_eq!(
            plain("\u{202e}gpj.exe\u{200b}\u{61c}", 99),
            "\\u{202e}gpj.exe\\u{200b}\\u{61c}"
        );
        let quoted = "<b>\"Узел\" 'один' – ok</b>";
        assert_eq!(plain(quoted, 99), quoted);
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(plain(&"я".repeat(4096), 5), "яяяя…");
        assert_eq!(plain("12345", 5), "12345");
    }
}
