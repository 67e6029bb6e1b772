//! The crate's own sources as the rules look at them: without comments, text and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src`.
pub struct Source {
    /// Its path below `src`, such as `http/server.rs`.
    pub path: String,
    /// As it stands.
    pub text: String,
    /// The same without comments, string literals and `#[cfg(test)]` items; line numbers are kept.
    pub code: String,
}

impl Source {
    /// Is it this file, or below this directory (`http/`)? A directory's own file (`http.rs`) belongs to it.
    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.strip_suffix('/') {
            Some(dir) => self.path.starts_with(place) || self.path == format!("{dir}.rs"),
            None => self.path == *place,
        })
    }

    /// Lines of code that have one of these words, as `path:line: code`.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for (number, line) in self.code.lines().enumerate() {
            if words.iter().any(|word| has_word(line, word)) {
                found.push(format!("src/{}:{}: {}", self.path, number + 1, line.trim()));
            }
        }
        found
    }
}

/// Does `line` have `word` with no identifier going on at either side?
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part);
        let after = line[at + word.len()..].chars().next().is_some_and(part);
        let (starts, ends) = (word.starts_with(part), word.ends_with(part));
        !(before && starts || after && ends)
    })
}

/// Every Rust file of `src` that is not a test itself.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 10, "{} files under {}", files.len(), root.display());
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file, text)
        })
        .collect();
    let helpers: Vec<PathBuf> =
        texts.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    texts
        .into_iter()
        .filter(|(file, _)| !helpers.iter().any(|helper| file.starts_with(helper)))
        .map(|(file, text)| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let code = without_tests(&without_comments_and_text(&text));
            Source { path, text, code }
        })
        .collect()
}

/// The files that `file` declares with `#[cfg(test)] mod name;`: as a file, or as a directory.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let dir = file.parent().unwrap();
    let dir = if ["mod", "lib", "main"].contains(&stem) { dir.to_owned() } else { dir.join(stem) };
    text.split("#[cfg(test)]")
        .skip(1)
        .filter_map(|item| {
            let declared = item.trim_start().lines().next()?.strip_suffix(';')?;
            let name =
                declared.rsplit_once("mod ").filter(|(before, _)| !before.contains("use"))?.1;
            Some([dir.join(format!("{name}.rs")), dir.join(name)])
        })
        .flatten()
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if name != "tests" {
                collect(&path, files);
            }
        } else if Path::new(&name).extension().is_some_and(|ext| ext == "rs")
            && name != "tests.rs"
            && !name.ends_with("_tests.rs")
        {
            files.push(path);
        }
    }
}

/// Blanks comments and the inside of string and character literals; lines stay lines.
fn without_comments_and_text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let end = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest),
            ['r', '"' | '#', ..]
                if raw_string(rest).is_some() && !identifier_before(&chars, at) =>
            {
                raw_string(rest).unwrap_or(1)
            }
            ['\'', '\\', ..] => {
                2 + rest[2..].iter().skip(1).position(|c| *c == '\'').map_or(0, |n| n + 2)
            }
            ['\'', _, '\'', ..] => 3,
            _ => {
                out.push(rest[0]);
                at += 1;
                continue;
            }
        };
        out.extend(rest[..end].iter().filter(|c| **c == '\n'));
        out.push(' ');
        at += end;
    }
    out
}

fn identifier_before(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `r"..."` or `r#"..."#`; none if it is no raw string (`r#type`).
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let mut end = vec!['"'];
    end.resize(1 + hashes, '#');
    let start = 2 + hashes;
    let found = rest[start..].windows(end.len()).position(|window| window == end)?;
    Some(start + found + end.len())
}

/// What stands before a test, as far as it is always the same.
const MARK: &str = "#[cfg(test";

/// Blanks every item under `#[cfg(test)]` or `#[cfg(all(test, ...))]`, up to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let code = code.replace("#[cfg(all(test", MARK);
    let mut out = String::with_capacity(code.len());
    let mut rest = code.as_str();
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let length = item_length(item, MARK.len());
        out.extend(item[..length].chars().filter(|c| *c == '\n'));
        rest = &item[length..];
    }
    out.push_str(rest);
    out
}

fn item_length(item: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices().skip_while(|(at, _)| *at < from) {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn comments_text_and_tests_are_not_code() {
    let text = r##"
//! sqlx
use a::b; // tokio
/* axum /* nested */ reqwest */
fn f<'a>(x: &'a str) -> char { let _ = "f64 \" sqlx"; let _ = r#"a " tokio"#; '"' }
#[cfg(test)]
mod tests { fn g() { x.unwrap() } }
#[cfg(all(test, feature = "x"))]
mod more { fn g() { x.unwrap() } }
fn h() { y.expect() }
"##;
    let code = without_tests(&without_comments_and_text(text));
    for gone in ["sqlx", "tokio", "axum", "reqwest", "f64", "unwrap", "nested"] {
        assert!(!code.contains(gone), "{gone} is still in {code}");
    }
    assert!(code.contains("fn f<'a>") && code.contains("y.expect()"), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(has_word("use sqlx::x;", "sqlx") && !has_word("mysqlx", "sqlx"));
    assert!(has_word("a.unwrap()", ".unwrap()") && !has_word("#[deny(unsafe_code)]", "unsafe"));
}
