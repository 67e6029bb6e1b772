//! What answers are written on: how wide it is, and whether colours show there.

use std::io::IsTerminal;

/// Columns where there is no terminal.
const USUAL: u16 = 80;

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns of a table.
    pub width: u16,
    /// It is a terminal, and its user has not switched colours off.
    pub colours: bool,
}

/// A colour that means something. What is well has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// It is down, or an error.
    Bad,
    /// It cannot be told, or it will be bad soon.
    Doubtful,
    /// It does not count.
    Faint,
}

impl Colour {
    /// By ECMA-48, section 8.3.117.
    const fn code(self) -> &'static str {
        match self {
            Self::Bad => "31",
            Self::Doubtful => "33",
            Self::Faint => "2",
        }
    }

    /// A line without its end in this colour.
    #[must_use]
    pub fn paint(self, line: &str) -> String {
        format!("\u{1b}[{}m{line}\u{1b}[0m", self.code())
    }
}

impl Screen {
    /// Standard output; `wanted` unless its user has switched colours off.
    #[must_use]
    pub fn of_stdout(wanted: bool) -> Self {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return USUAL.into();
        }
        let width = rustix::termios::tcgetwinsize(out).map_or(0, |size| size.ws_col);
        Self { width: if width == 0 { USUAL } else { width }, colours: wanted }
    }
}

impl From<u16> for Screen {
    fn from(width: u16) -> Self {
        Self { width, colours: false }
    }
}
