//! `.env` as Laravel reads it: the rules of `phpdotenv` 5, and those of Laravel's `env()` on top.
//!
//! They differ from those of our own reader: a `$` stands for itself unless it is `${NAME}`, a `#` ends what is not
//! quoted, and a value in double quotes may have several lines.

use std::collections::BTreeMap;

/// One `NAME=VALUE`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// None: it is not written as it must be.
    pub(super) value: Option<String>,
    /// Where it begins, from 1.
    pub(super) line: usize,
}

/// All entries in their order, `${NAME}` replaced: by the process's variable, which `outer` knows, else by an entry before.
pub(super) fn parse(text: &str, outer: impl Fn(&str) -> Option<String>) -> Vec<Entry> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut entries = Vec::new();
    for (line, text) in logical_lines(text) {
        let Some((name, raw)) = text.split_once('=') else { continue };
        let Some(name) = name_of(trim(name)) else { continue };
        let value = read_value(trim(raw))
            .map(|value| value.resolve(|name| outer(name).or_else(|| known.get(name).cloned())));
        if let Some(value) = &value {
            known.insert(name.to_owned(), value.clone());
        }
        entries.push(Entry { name: name.to_owned(), value, line });
    }
    entries
}

/// What `env()` makes of a value: none for `null`, and the words in brackets or without.
pub(super) fn meaning(value: &str) -> Option<&str> {
    match value.to_ascii_lowercase().as_str() {
        "null" | "(null)" => return None,
        "empty" | "(empty)" | "false" | "(false)" => return Some(""),
        // What PHP makes of `true` where text is wanted.
        "true" | "(true)" => return Some("1"),
        _ => {}
    }
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    Some(inner.unwrap_or(value))
}

/// Lines with their numbers; those of one value in double quotes together, comments and empty ones left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.trim_start_matches('\u{FEFF}').lines().enumerate() {
        if let Some((start, mut whole)) = open.take() {
            whole.push('\n');
            whole.push_str(line);
            if closes(line, 1) {
                lines.push((start, whole));
            } else {
                open = Some((start, whole));
            }
        } else if line.contains("=\"") && !closes(line, 2) {
            open = Some((at + 1, line.to_owned()));
        } else if !trim(line).is_empty() && !trim(line).starts_with('#') {
            lines.push((at + 1, line.to_owned()));
        }
    }
    // A value that is never closed takes what is left of the file with it.
    lines
}

/// Are there so many quotes that a backslash does not hide? The first of a line is none by this count.
fn closes(line: &str, least: usize) -> bool {
    let plain = line.replace("\\\\", "");
    let before_quotes = plain.chars().zip(plain.chars().skip(1)).filter(|(_, next)| *next == '"');
    line == "\"" || before_quotes.filter(|(before, _)| *before != '\\').count() >= least
}

/// The characters that PHP's `trim` takes away.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0B'])
}

/// A name without `export` and quotes.
fn name_of(text: &str) -> Option<&str> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => trim(rest),
        _ => text,
    };
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    Some(bare.unwrap_or(text)).filter(|name| is_name(name))
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

/// A value whose variables are not replaced yet.
#[derive(Default)]
struct Value {
    text: String,
    /// Where a `$` stands that may begin `${NAME}`.
    dollars: Vec<usize>,
}

impl Value {
    fn push(&mut self, c: char) {
        if c == '$' {
            self.dollars.push(self.text.len());
        }
        self.text.push(c);
    }

    /// From the last to the first, so that what was put in is not looked at again. An unknown name stays as it is.
    fn resolve(mut self, lookup: impl Fn(&str) -> Option<String>) -> String {
        for at in self.dollars.into_iter().rev() {
            let end = self.text[at..].find('}').map(|end| at + end);
            let name = end.and_then(|end| self.text.get(at + 2..end));
            if let (Some(end), Some(name)) = (end, name)
                && self.text[at..].starts_with("${")
                && is_name(name)
                && let Some(value) = lookup(name)
            {
                self.text.replace_range(at..=end, &value);
            }
        }
        self.text
    }
}

/// Where in a value a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Bare,
    Single,
    Double,
    Escape,
    /// Behind the value: blanks and a comment may follow.
    Behind,
}

/// None: a quote is not closed, or something follows that is no comment.
fn read_value(text: &str) -> Option<Value> {
    let mut value = Value::default();
    let mut place = Place::Start;
    for c in text.chars() {
        place = match (place, c) {
            (Place::Start, '\'') => Place::Single,
            (Place::Start, '"') => Place::Double,
            (Place::Start | Place::Bare | Place::Behind, '#') => return Some(value),
            (Place::Single, '\'') | (Place::Double, '"') => Place::Behind,
            (Place::Double, '\\') => Place::Escape,
            (Place::Bare | Place::Behind, c) if c.is_ascii_whitespace() || c == '\x0B' => {
                Place::Behind
            }
            (Place::Behind, _) => return None,
            (Place::Escape, c) => {
                value.text.push(escaped(c)?);
                Place::Double
            }
            (Place::Single, c) => {
                value.text.push(c);
                Place::Single
            }
            (Place::Start | Place::Bare | Place::Double, c) => {
                value.push(c);
                if place == Place::Double { Place::Double } else { Place::Bare }
            }
        };
    }
    matches!(place, Place::Start | Place::Bare | Place::Behind).then_some(value)
}

/// What stands for what behind a backslash.
const fn escaped(c: char) -> Option<char> {
    Some(match c {
        '"' | '\\' | '$' => c,
        'f' => '\x0C',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0B',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<String> {
        let text = format!("HOST=db.example\nEMPTY=\n{line}");
        let outer = |name: &str| (name == "OUTER").then(|| "outside".to_owned());
        parse(&text, outer).pop().filter(|entry| entry.name == "X").and_then(|entry| entry.value)
    }

    /// Each was given to `phpdotenv` 5.4 as well.
    #[test]
    fn values_are_read_as_laravel_reads_them() {
        let cases = [
            ("X=plain", "plain"),
            ("X = spaced ", "spaced"),
            ("'X'=quoted", "quoted"),
            ("X=", ""),
            ("X=pa$word", "pa$word"),
            ("X=a#b", "a"),
            ("X=#b", ""),
            ("X=a # b", "a"),
            ("X=\"a # b\" # c", "a # b"),
            ("X='a $b ${HOST} \"c\" \\n'", "a $b ${HOST} \"c\" \\n"),
            ("X=\"a\\\"b\\\\c\\$d\\te\"", "a\"b\\c$d\te"),
            ("X=a\\b", "a\\b"),
            ("X=a\"b'c", "a\"b'c"),
            ("X=${HOST}", "db.example"),
            ("X=\"${HOST}:${EMPTY}1\"", "db.example:1"),
            ("X=\"\\${HOST}\"", "${HOST}"),
            ("X=$HOST", "$HOST"),
            ("X=${GONE}", "${GONE}"),
            ("X=${HOST", "${HOST"),
            ("X=$", "$"),
            ("X=${}", "${}"),
            ("X=${OUTER}", "outside"),
            ("X=base64:AAECAwQFBgcICQoLDA0ODw==", "base64:AAECAwQFBgcICQoLDA0ODw=="),
            ("X=\"two\nlines\"", "two\nlines"),
            ("X=пароль", "пароль"),
        ];
        for (line, expected) in cases {
            assert_eq!(value(line).as_deref(), Some(expected), "{line}");
        }
        let exported = parse("export DB_HOST=a", |_| None);
        assert_eq!(exported[0].name, "DB_HOST");
    }

    #[test]
    fn what_laravel_refuses_has_no_value() {
        for line in ["X=a b", "X='a", "X=\"a\" b", "X=\"a\\qb\""] {
            let entry = parse(line, |_| None).pop();
            assert_eq!(entry, Some(Entry { name: "X".into(), value: None, line: 1 }), "{line}");
        }
    }

    #[test]
    fn lines_are_counted_and_foreign_ones_do_no_harm() {
        let text = "\u{FEFF}# A=1\n\nA=1\r\ngarbage\n=x\nB-C=2\nM=\"a\n# b\nc\"\nD=${A}${M}\n";
        let entries = parse(text, |_| None);
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.line, entry.name.as_str(), entry.value.as_deref().unwrap()))
            .collect();
        assert_eq!(seen, [(3, "A", "1"), (7, "M", "a\n# b\nc"), (10, "D", "1a\n# b\nc")]);
    }

    #[test]
    fn the_words_of_env_mean_what_they_mean_there() {
        for word in ["null", "(null)", "NULL"] {
            assert_eq!(meaning(word), None, "{word}");
        }
        for (word, expected) in [
            ("empty", ""),
            ("(Empty)", ""),
            ("false", ""),
            ("true", "1"),
            ("\"a\"", "a"),
            ("'", "'"),
        ] {
            assert_eq!(meaning(word), Some(expected), "{word}");
        }
    }
}
