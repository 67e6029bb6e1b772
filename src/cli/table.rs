//! Tables that fit: one line a row, long cells cut with `…`, ids never.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table as Comfy};

use serde_json::Value;

use super::output::printable;
use super::screen::{Colour, Screen};

/// How a column behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Shown whole, whatever its neighbours lose: ids, words of closed lists.
    Whole,
    /// A number: whole, to the right.
    Number,
    /// Cut where there is no room.
    Text,
}

/// A table being filled.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<String>>,
    colours: Vec<Option<Colour>>,
    colour: Option<Colour>,
    wraps: bool,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[(&'static str, Kind)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            colours: Vec::new(),
            colour: None,
            wraps: false,
        }
    }

    /// Long cells go on in the next line instead of being cut: for a table about one thing.
    #[must_use]
    pub fn wrapping(mut self) -> Self {
        self.wraps = true;
        self
    }

    /// The rows that follow have this colour, where colours show; not in a table that wraps.
    pub fn coloured(&mut self, colour: Option<Colour>) {
        self.colour = colour;
    }

    /// Adds a row; its cells are made harmless here.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let harmless = cells.into_iter().map(|cell| printable(&cell).into_owned());
        self.rows.push(harmless.collect());
        self.colours.push(self.colour);
    }

    /// The lines, none wider than the screen as long as its whole columns leave any room.
    #[must_use]
    pub fn render(&self, screen: impl Into<Screen>) -> String {
        let Screen { width, colours } = screen.into();
        let mut table = Comfy::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width)
            .set_truncation_indicator("…")
            .set_header(one_line(self.columns.iter().map(|(name, _)| *name)));
        if !self.wraps {
            // A cell that is cut keeps as much as fits, not whole words.
            table.set_delimiter('\u{0}');
        }
        for row in &self.rows {
            if self.wraps {
                table.add_row(row);
            } else {
                table.add_row(one_line(row.iter().map(String::as_str)));
            }
        }
        for (at, (_, kind)) in self.columns.iter().enumerate() {
            let Some(column) = table.column_mut(at) else { continue };
            let gap = if at + 1 == self.columns.len() { 0 } else { 2 };
            column.set_padding((0, gap));
            if *kind != Kind::Text {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            if *kind == Kind::Number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let colours = colours && !self.wraps;
        // A row is a line, below that of the header.
        let colour = |line: usize| *self.colours.get(line.checked_sub(1)?).filter(|_| colours)?;
        let lines = table.lines().enumerate();
        lines
            .map(|(at, line)| {
                let line = line.trim_end();
                colour(at).map_or_else(|| line.to_owned(), |it| it.paint(line)) + "\n"
            })
            .collect()
    }
}

/// An object as lines of name and value, each value whole: here the cut cells of tables can be read.
#[must_use]
pub fn listing(object: &Value, width: u16) -> String {
    let mut table = Comfy::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_delimiter('\u{0}');
    for (key, value) in object.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        table.add_row([printable(key), printable(&value)]);
    }
    if let Some(names) = table.column_mut(0) {
        names.set_padding((0, 2)).set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_padding((0, 0));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// One line of text, made harmless and cut to `width`.
#[must_use]
pub fn cut(text: &str, width: u16) -> String {
    let mut table = Table::new(&[("", Kind::Text)]);
    table.row([text.to_owned()]);
    table.render(width).lines().nth(1).unwrap_or_default().to_owned()
}

fn one_line<'a>(cells: impl Iterator<Item = &'a str>) -> Row {
    let mut row = Row::from(cells.map(Cell::new).collect::<Vec<_>>());
    row.max_height(1);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [(&str, Kind); 4] = [
        ("ID", Kind::Number),
        ("NAME", Kind::Text),
        ("STATE", Kind::Whole),
        ("MESSAGE", Kind::Text),
    ];

    fn widths(text: &str) -> Vec<usize> {
        text.lines().map(|line| line.chars().count()).collect()
    }

    #[test]
    fn a_table_about_one_thing_loses_no_word() {
        let mut table = Table::new(&COLUMNS).wrapping();
        let message = "the server refuses the user name or the password ".repeat(4);
        table.row(["1".into(), "n".into(), "down".into(), message.clone()]);
        let shown = table.render(80);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let words = |text: &str| text.split_whitespace().filter(|it| *it == "password").count();
        assert_eq!(words(&shown), words(&message), "{shown}");
        assert!(!shown.contains('…'), "{shown}");
    }

    #[test]
    fn hostile_names_fit_into_eighty_columns() {
        let mut table = Table::new(&COLUMNS);
        for name in ["x".repeat(128), "y ".repeat(64), "\u{1b}[2J".repeat(20), "я".repeat(128)] {
            table.row([
                "9223372036854775807".to_owned(),
                name,
                "unknown".to_owned(),
                "Port is occupied but API is not responding (api_timeout) ".repeat(3),
            ]);
        }
        let text = table.render(80);
        assert!(widths(&text).iter().all(|width| *width <= 80), "{text}");
        assert_eq!(text.matches("9223372036854775807").count(), 4, "{text}");
        assert_eq!(text.matches("unknown").count(), 4, "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains('…') && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn wide_characters_count_twice() {
        let mut table = Table::new(&COLUMNS);
        table.row(["1".into(), "节".repeat(100), "up".into(), "ok".into()]);
        let text = table.render(80);
        let line = text.lines().nth(1).unwrap();
        let cells: usize = line.chars().map(|c| if c == '节' { 2 } else { 1 }).sum();
        assert!(cells <= 80, "{text}");
    }

    #[test]
    fn a_short_table_is_not_stretched() {
        let mut table = Table::new(&COLUMNS);
        table.row(["1".into(), "main".into(), "up".into(), "API is responding".into()]);
        assert_eq!(
            table.render(80),
            "ID  NAME  STATE  MESSAGE\n 1  main  up     API is responding\n"
        );
    }

    #[test]
    fn a_row_has_its_colour_where_colours_show() {
        let mut table = Table::new(&COLUMNS);
        for (id, colour) in [("1", Some(Colour::Bad)), ("2", None)] {
            table.coloured(colour);
            table.row([id.into(), "\u{1b}[2J".into(), "down".into(), "x".into()]);
        }
        let screen = Screen { width: 80, colours: true };
        let (plain, painted) = (table.render(80), table.render(screen));
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let mut lines = painted.lines().zip(plain.lines());
        let bad = |line: &str| format!("\u{1b}[31m{line}\u{1b}[0m");
        assert!(lines.next().is_some_and(|(painted, plain)| painted == plain), "the header");
        assert!(lines.next().is_some_and(|(painted, plain)| painted == bad(plain)), "{painted}");
        assert!(lines.next().is_some_and(|(painted, plain)| painted == plain), "{painted}");
    }

    #[test]
    fn a_listing_shows_all_of_a_value() {
        let long = "节x".repeat(100);
        let text = listing(&serde_json::json!({"a": long, "name": null, "n": 7}), 80);
        let shown: String = text.lines().take_while(|line| !line.starts_with("name")).collect();
        assert_eq!(shown.matches('节').count(), 100, "{text}");
        let cells = |line: &str| line.chars().map(|c| if c == '节' { 2 } else { 1 }).sum::<usize>();
        assert!(text.lines().all(|line| cells(line) <= 80), "{text}");
        assert!(text.ends_with("name  -\nn     7\n"), "{text}");
    }

    #[test]
    fn a_line_is_cut_with_a_mark() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("\u{7}", 80), "\\u{7}");
    }
}
