//! Documents in two languages are in step: the same headings, commands, tables and lists in the same order.

use std::fs;
use std::path::Path;

/// A part of a document that a translation has to have at the same place.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Heading {
        level: usize,
    },
    /// Without comments, which are translated.
    Code {
        language: String,
        lines: Vec<String>,
    },
    /// A row of a table: how many cells, and what is written as code in the first one.
    Row {
        cells: usize,
        names: Vec<String>,
    },
    Item,
}

/// The part and the line that it begins in.
fn parts(text: &str) -> Vec<(Part, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let part = if let Some(language) = line.strip_prefix("```") {
            let code = lines.by_ref().take_while(|it| *it != "```").map(without_comment);
            Part::Code { language: language.to_owned(), lines: code.collect() }
        } else if line.starts_with('#') {
            Part::Heading { level: line.bytes().take_while(|it| *it == b'#').count() }
        } else if line.starts_with('|') {
            let cells: Vec<_> = line.replace("\\|", "").split('|').map(str::to_owned).collect();
            let names = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Part::Row { cells: cells.len(), names }
        } else if line.starts_with("- ") {
            Part::Item
        } else {
            continue;
        };
        found.push((part, line.to_owned()));
    }
    found
}

fn without_comment(line: &str) -> String {
    let cut = line.match_indices('#').map(|(at, _)| at).find(|at| {
        let before = line[..*at].chars().next_back();
        before.is_none_or(char::is_whitespace)
    });
    line[..cut.unwrap_or(line.len())].trim_end().to_owned()
}

#[test]
fn the_russian_readme_is_in_step_with_the_english_one() {
    let read = |name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        parts(&fs::read_to_string(&path).unwrap())
    };
    let (english, russian) = (read("README.md"), read("README.ru.md"));
    for (one, other) in english.iter().zip(&russian) {
        assert_eq!(one.0, other.0, "README.md: {}\nREADME.ru.md: {}", one.1, other.1);
    }
    assert_eq!(english.len(), russian.len());
    assert!(
        english
            .iter()
            .any(|(part, _)| matches!(part, Part::Row { names, .. } if names == &["adopt.mode"]))
    );
}

#[test]
fn a_command_that_differs_or_a_key_that_is_missing_is_noticed() {
    let of = |text: &str| parts(text).into_iter().map(|(part, _)| part).collect::<Vec<_>>();
    let english = "# A\n```sh\nrun --it  # what for\n```\n| `key`, `b` | 1 |\n- one\n";
    let russian = "# Б\n```sh\nrun --it        # зачем\n```\n| `key`, `b` | 1 |\n- раз\n";
    assert_eq!(of(english), of(russian));
    for (was, is) in [
        ("run --it", "run --that"),
        ("`key`", "`kez`"),
        ("# Б", "## Б"),
        ("- раз\n", ""),
        (" 1 |", ""),
    ] {
        assert!(russian.contains(was));
        assert_ne!(of(english), of(&russian.replacen(was, is, 1)), "{was}");
    }
}
