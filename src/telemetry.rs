//! Where the log goes: text or JSON, to standard error or to a file that can be opened again.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::config::{Log, LogFormat};

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The file cannot be opened.
    #[error("the log file {} cannot be opened: {source}", path.display())]
    Open {
        /// `log.file`
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `log.level` is no filter.
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else in this process logs already.
    #[error(transparent)]
    Taken(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// A started log.
#[derive(Debug, Clone)]
pub struct Telemetry {
    sink: Sink,
}

impl Telemetry {
    /// Opens the log file again, after it was moved away. Nothing happens where there is none.
    ///
    /// # Errors
    /// If it cannot be opened; the old one stays.
    pub fn reopen(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Stderr => Ok(()),
            Sink::File { path, file } => {
                let again = open(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?;
                file.store(Arc::new(again));
                Ok(())
            }
        }
    }
}

/// Starts logging for the whole process. `to_terminal`: standard error is a terminal that wants colours.
///
/// # Errors
/// If the file cannot be opened, the filter is none, or logging was started before.
pub fn start(log: &Log, to_terminal: bool) -> Result<Telemetry, TelemetryError> {
    let (telemetry, subscriber) = build(log, to_terminal)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(telemetry)
}

fn build(
    log: &Log,
    to_terminal: bool,
) -> Result<(Telemetry, Box<dyn Subscriber + Send + Sync>), TelemetryError> {
    // Its pool logs each broken connection that it finds; who called the store tells of it once.
    let filter = log.level.parse::<Targets>()?.with_target("sqlx_core::pool", LevelFilter::OFF);
    let sink = match &log.file {
        None => Sink::Stderr,
        Some(path) => {
            let file =
                open(path).map_err(|source| TelemetryError::Open { path: path.clone(), source })?;
            Sink::File { path: path.clone(), file: Arc::new(ArcSwap::from_pointee(file)) }
        }
    };
    let colours = to_terminal && log.file.is_none() && log.format == LogFormat::Text;
    // Its own complaints go through eprintln!, which panics on a closed standard error.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).with_ansi(colours);
    let registry = tracing_subscriber::registry().with(filter);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match log.format {
        LogFormat::Text => {
            Box::new(registry.with(layer.with_writer(Lines { sink: sink.clone(), colours })))
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_span_list(false);
            Box::new(registry.with(layer.with_writer(sink.clone())))
        }
    };
    Ok((Telemetry { sink }, subscriber))
}

/// For appending; made for its owner and the group that collects logs.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Where lines go. A line is one write in append mode, so lines of two threads do not mix.
#[derive(Debug, Clone)]
enum Sink {
    Stderr,
    File { path: PathBuf, file: Arc<ArcSwap<File>> },
}

impl Write for Sink {
    /// Never fails: nobody is left to tell, and a full disk must not stop the checks.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = match self {
            Self::Stderr => io::stderr().lock().write_all(line),
            Self::File { file, .. } => file.load().as_ref().write_all(line),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Text lines, made harmless: the formatter escapes controls in the message but not in its fields, and
/// leaves line ends everywhere, so that a file name could forge a line.
#[derive(Debug, Clone)]
struct Lines {
    sink: Sink,
    colours: bool,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.sink.write_all(harmless(&text, self.colours).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// One line without control characters but its end, and the formatter's colours where there are any.
fn harmless(line: &str, colours: bool) -> Cow<'_, str> {
    let body = line.strip_suffix('\n').unwrap_or(line);
    if !body.chars().any(char::is_control) {
        return Cow::Borrowed(line);
    }
    let mut clean = String::with_capacity(line.len() + 16);
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        let colour = if colours { colour_at(rest) } else { 0 };
        if colour > 0 {
            clean.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    clean.push('\n');
    Cow::Owned(clean)
}

/// The length of a colour sequence (ECMA-48, SGR) that `text` begins with; 0 if there is none.
fn colour_at(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
    if rest.as_bytes().get(digits) == Some(&b'm') { "\x1b[".len() + digits + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn log(format: LogFormat, file: &Path) -> Log {
        Log { format, file: Some(file.to_path_buf()), level: "info".to_owned() }
    }

    #[test]
    fn a_field_cannot_forge_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (_telemetry, subscriber) = build(&log(LogFormat::Text, &path), true).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(file = %"a\nb\x1b[2J\x1b[31mred", "first\nsecond\r");
            tracing::debug!("too quiet");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains(r"first\nsecond\r"), "{text:?}");
        assert!(text.contains(r"a\nb\u{1b}[2J\u{1b}[31mred"), "{text:?}");
    }

    #[test]
    fn colours_of_the_formatter_stay_and_other_sequences_do_not() {
        assert_eq!(harmless("\x1b[2mtime\x1b[0m x\n", true), "\x1b[2mtime\x1b[0m x\n");
        assert_eq!(
            harmless("\x1b]0;title\x07 \x1b[2J\n", true),
            "\\u{1b}]0;title\\u{7} \\u{1b}[2J\n"
        );
        assert_eq!(harmless("\x1b[2mtime\n", false), "\\u{1b}[2mtime\n");
        assert!(matches!(harmless("plain\n", false), Cow::Borrowed("plain\n")));
    }

    #[test]
    fn json_is_one_object_a_line_with_its_fields_on_top() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (_telemetry, subscriber) = build(&log(LogFormat::Json, &path), false).unwrap();
        tracing::subscriber::with_default(subscriber, || tracing::warn!(node = "a\nb", "down"));
        let text = std::fs::read_to_string(&path).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["node"]),
            (&"WARN".into(), &"down".into(), &"a\nb".into())
        );
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let (telemetry, subscriber) = build(&log(LogFormat::Text, &path), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            std::fs::rename(&path, &old).unwrap();
            tracing::info!("two");
            telemetry.reopen().unwrap();
            tracing::info!("three");
        });
        assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 2);
        assert!(std::fs::read_to_string(&path).unwrap().contains("three"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o137, 0);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o600, 0o600);

        std::fs::remove_dir_all(dir.path()).unwrap();
        let error = telemetry.reopen().unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_failure_to_open_names_the_path() {
        let error =
            build(&log(LogFormat::Text, Path::new("/nonexistent/log")), false).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/log"), "{error}");
    }
}
