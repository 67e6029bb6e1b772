//! Figures as text that Prometheus reads, in both of its formats: the older one, 0.0.4, and OpenMetrics 1.0. Pure.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

pub mod collect;

use std::fmt::Write as _;

/// Which text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Format {
    /// What `Content-Type` says of it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What the samples of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, but for a restart.
    Counter,
    /// Always 1; its labels are what it says.
    Info,
}

impl Kind {
    /// What is added to the family's name in its samples.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Gauge => "",
            Self::Counter => "_total",
            Self::Info => "_info",
        }
    }
}

/// Samples of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Family {
    /// Without the suffix of its kind; ends with the unit.
    pub name: &'static str,
    /// What the samples are.
    pub kind: Kind,
    /// Empty for plain numbers.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
}

impl Family {
    /// Plain numbers that go up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit: "", help }
    }

    /// The same of another kind.
    #[must_use]
    pub const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same in a unit, with which the name ends.
    #[must_use]
    pub const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }
}

/// A number, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// As it is.
    Whole(u64),
    /// Milliseconds, written as seconds.
    Millis(i64),
}

impl From<bool> for Value {
    fn from(it: bool) -> Self {
        Self::Whole(u64::from(it))
    }
}

impl From<u64> for Value {
    fn from(it: u64) -> Self {
        Self::Whole(it)
    }
}

impl From<usize> for Value {
    fn from(it: usize) -> Self {
        Self::Whole(u64::try_from(it).unwrap_or(u64::MAX))
    }
}

/// A text on its way. Each family is begun once, and its samples follow.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    out: String,
    family: Option<Family>,
}

impl Exposition {
    /// An empty one; `room` is how many bytes are expected.
    #[must_use]
    pub fn new(format: Format, room: usize) -> Self {
        Self { format, out: String::with_capacity(room), family: None }
    }

    /// Begins a family.
    pub fn family(&mut self, family: Family) -> &mut Self {
        let Family { name, kind, unit, help } = family;
        // The older format names the samples; OpenMetrics names the family, and knows more kinds.
        let (shown, word) = match (self.format, kind) {
            (Format::Text, Kind::Counter) => (kind.suffix(), "counter"),
            (Format::Text, _) => (kind.suffix(), "gauge"),
            (Format::OpenMetrics, Kind::Counter) => ("", "counter"),
            (Format::OpenMetrics, Kind::Gauge) => ("", "gauge"),
            (Format::OpenMetrics, Kind::Info) => ("", "info"),
        };
        // Into memory nothing fails, here and below.
        let _ = write!(self.out, "# HELP {name}{shown} ");
        self.escaped(help, self.format == Format::OpenMetrics);
        let _ = write!(self.out, "\n# TYPE {name}{shown} {word}\n");
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        self.family = Some(family);
        self
    }

    /// A sample of the family that was begun last; `labels` as names and values. Nothing without a family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        let Some(family) = self.family else { return self };
        self.out.push_str(family.name);
        self.out.push_str(family.kind.suffix());
        for (at, (name, text)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.escaped(text, true);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.out.push(' ');
        self.number(value.into());
        self.out.push('\n');
        self
    }

    /// The whole text.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn number(&mut self, value: Value) {
        let _ = match value {
            Value::Whole(it) => write!(self.out, "{it}"),
            Value::Millis(it) => {
                let (sign, it) = (if it < 0 { "-" } else { "" }, it.unsigned_abs());
                write!(self.out, "{sign}{}.{:03}", it / 1000, it % 1000)
            }
        };
    }

    fn escaped(&mut self, text: &str, quotes: bool) {
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if quotes => self.out.push_str("\\\""),
                c => self.out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Family = Family::gauge("x_up", "Is \"it\" up?\nSee C:\\");
    const SEEN: Family = Family::gauge("x_seen_seconds", "When.").unit("seconds");
    const ERRORS: Family = Family::gauge("x_errors", "Errors.").kind(Kind::Counter);
    const BUILD: Family = Family::gauge("x_build", "Which.").kind(Kind::Info);

    fn written(format: Format) -> String {
        let mut text = Exposition::new(format, 0);
        text.family(UP).sample(&[("node", "a\\b\"c\nd é\u{202e}")], true);
        text.family(SEEN)
            .sample(&[], Value::Millis(1_736_937_045_009))
            .sample(&[("a", "1"), ("b", "")], Value::Millis(-1_500));
        text.family(ERRORS).sample(&[], 7_u64);
        text.family(BUILD).sample(&[("version", "1")], 1_u64);
        text.finish()
    }

    #[test]
    fn the_older_format() {
        let expected = r#"# HELP x_up Is "it" up?\nSee C:\\
# TYPE x_up gauge
x_up{node="a\\b\"c\nd éRLO"} 1
# HELP x_seen_seconds When.
# TYPE x_seen_seconds gauge
x_seen_seconds 1736937045.009
x_seen_seconds{a="1",b=""} -1.500
# HELP x_errors_total Errors.
# TYPE x_errors_total counter
x_errors_total 7
# HELP x_build_info Which.
# TYPE x_build_info gauge
x_build_info{version="1"} 1
"#;
        assert_eq!(written(Format::Text), expected.replace("RLO", "\u{202e}"));
    }

    #[test]
    fn open_metrics() {
        let expected = r#"# HELP x_up Is \"it\" up?\nSee C:\\
# TYPE x_up gauge
x_up{node="a\\b\"c\nd éRLO"} 1
# HELP x_seen_seconds When.
# TYPE x_seen_seconds gauge
# UNIT x_seen_seconds seconds
x_seen_seconds 1736937045.009
x_seen_seconds{a="1",b=""} -1.500
# HELP x_errors Errors.
# TYPE x_errors counter
x_errors_total 7
# HELP x_build Which.
# TYPE x_build info
x_build_info{version="1"} 1
# EOF
"#;
        assert_eq!(written(Format::OpenMetrics), expected.replace("RLO", "\u{202e}"));
    }

    #[test]
    fn a_sample_without_a_family_is_none() {
        let mut text = Exposition::new(Format::Text, 0);
        text.sample(&[], 1_u64);
        assert_eq!(text.finish(), "");
    }
}
