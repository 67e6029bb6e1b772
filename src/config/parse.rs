//! One value as the type that its key takes. A problem never repeats a value that may be a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::filter::Targets;

use super::raw::{Raw, Value};
use super::settings::MinWorking;
use crate::domain::node::{ANY, Password, check_name};

/// What is wrong with a value, to be read after the key and a colon.
pub(super) type Problem = String;

/// Most characters of a node's texts; the registry's limit.
const SHORT: usize = 255;

/// How durations are written.
const DURATION_FORMS: &str = "a duration such as 300ms, 30s, 10m, 2h or 90d";

/// Levels of `log.level`.
pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A value as a message may show it: printable and short.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push_str("...");
    }
    format!("'{short}'")
}

impl Raw {
    fn wrong_type(&self, expected: &str) -> Problem {
        format!("must be {expected}, not {}", self.value.what())
    }

    pub(super) fn as_text(&self, expected: &str) -> Result<&str, Problem> {
        match &self.value {
            Value::Text(text) | Value::Seconds(text) if text.contains('\u{FFFD}') => {
                Err("must be UTF-8".to_owned())
            }
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong_type(expected)),
        }
    }

    /// Text that is not empty and has no control characters.
    pub(super) fn text(&self) -> Result<String, Problem> {
        let text = self.as_text("text")?;
        if text.is_empty() {
            return Err("must not be empty".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        Ok(text.to_owned())
    }

    /// Text of a node: at most 255 characters, as the registry has it.
    pub(super) fn short_text(&self) -> Result<String, Problem> {
        let text = self.text()?;
        let length = text.chars().count();
        if length > SHORT {
            return Err(format!("must have 1 to {SHORT} characters, it has {length}"));
        }
        Ok(text)
    }

    /// The name of an instance; [`ANY`] is none.
    pub(super) fn instance_name(&self) -> Result<String, Problem> {
        let name = self.placement()?;
        check_instance(&name).map(|()| name)
    }

    /// Who shall answer for a node: the name of an instance, or [`ANY`].
    pub(super) fn placement(&self) -> Result<String, Problem> {
        let name = self.text()?;
        check_name(&name).map(|()| name)
    }

    /// A token of `Authorization: Bearer`, so no spaces and only ASCII (RFC 6750, 2.1, is stricter still).
    pub(super) fn token(&self) -> Result<Password, Problem> {
        let token = self.text()?;
        if token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Password::new(token))
        } else {
            Err("must be visible ASCII characters without spaces".to_owned())
        }
    }

    /// A path, made absolute from where it was written.
    pub(super) fn path(&self) -> Result<PathBuf, Problem> {
        let text = self.text()?;
        Ok(self.base.join(text))
    }

    /// True or false.
    pub(super) fn bool(&self) -> Result<bool, Problem> {
        match &self.value {
            Value::Bool(flag) => Ok(*flag),
            Value::Text(text) if self.is_loose() => match text.as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(format!("{} is none of true, false", shown(other))),
            },
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer<T: TryFrom<i64>>(&self, least: i64, most: i64) -> Result<T, Problem> {
        let expected = format!("a whole number from {least} to {most}");
        let number = match &self.value {
            Value::Integer(number) => *number,
            Value::Text(text) if self.is_loose() => {
                text.parse().map_err(|_| format!("{} is not {expected}", shown(text)))?
            }
            _ => return Err(self.wrong_type(&expected)),
        };
        Some(number)
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("{number} is not {expected}"))
    }

    /// A duration from `least` to `most`.
    pub(super) fn duration(&self, least: Duration, most: Duration) -> Result<Duration, Problem> {
        let duration = match &self.value {
            Value::Seconds(text) => text
                .parse()
                .map(Duration::from_secs)
                .map_err(|_| format!("{} is not a whole number of seconds", shown(text)))?,
            Value::Integer(number) => {
                return Err(format!("{number} has no unit; write {DURATION_FORMS}"));
            }
            _ => parse_duration(self.as_text(DURATION_FORMS)?)?,
        };
        if duration.is_zero() && !least.is_zero() {
            return Err("must be more than zero".to_owned());
        }
        if duration < least || duration > most {
            let (least, most) =
                (humantime::format_duration(least), humantime::format_duration(most));
            return Err(format!(
                "{} is not from {least} to {most}",
                humantime::format_duration(duration)
            ));
        }
        Ok(duration)
    }

    /// One of the words, as what it stands for.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let allowed = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let text = self.as_text(&format!("one of {}", allowed()))?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| format!("{} is none of {}", shown(text), allowed()))
    }

    /// The texts of a list: an array in a file, separated by commas elsewhere.
    pub(super) fn items(&self) -> Result<Vec<String>, Problem> {
        match &self.value {
            Value::List(values) => values
                .iter()
                .map(|value| match value {
                    Value::Text(text) => Ok(text.clone()),
                    other => Err(format!("must be a list of texts, not of {}", other.what())),
                })
                .collect(),
            Value::Text(text) if self.is_loose() => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect()),
            _ => Err(self.wrong_type("a list such as [\"a\", \"b\"]")),
        }
    }

    /// Networks, an address being one of its own.
    pub(super) fn networks(&self) -> Result<Vec<IpNet>, Problem> {
        let network = |text: &String| {
            let text = text.trim();
            let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            parsed.map_err(|_| format!("{} is neither a network nor an address", shown(text)))
        };
        self.items()?.iter().map(network).collect()
    }

    /// A list of texts, nothing twice.
    pub(super) fn list(&self) -> Result<Vec<String>, Problem> {
        let items = self.items()?;
        for (at, item) in items.iter().enumerate() {
            if items[..at].contains(item) {
                return Err(format!("{} stands there twice", shown(item)));
            }
        }
        Ok(items)
    }

    /// An address to listen on. Port 0 lets the kernel choose.
    pub(super) fn address(&self) -> Result<SocketAddr, Problem> {
        let expected = "an IP address with a port such as 127.0.0.1:8686 or [::]:8686";
        let text = self.as_text(expected)?;
        text.parse().map_err(|_| format!("{} is not {expected}", shown(text)))
    }

    /// Prefixes of routes.
    pub(super) fn base_paths(&self) -> Result<Vec<String>, Problem> {
        let paths = self.list()?;
        for path in &paths {
            check_base_path(path).map_err(|problem| format!("{} {problem}", shown(path)))?;
        }
        Ok(paths)
    }

    /// Origins that browsers may call from, as they send them (RFC 6454, 6.2), or `*` alone.
    pub(super) fn origins(&self) -> Result<Vec<String>, Problem> {
        let origins = self.list()?;
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            return Err("'*' must stand alone".to_owned());
        }
        match origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
            Some(_) => {
                Err("must be '*' or origins such as https://example.org or http://localhost:3000"
                    .to_owned())
            }
            None => Ok(origins),
        }
    }

    /// `health.min_working`.
    pub(super) fn min_working(&self) -> Result<MinWorking, Problem> {
        let expected = "a percentage from \"0 %\" to \"100 %\" or a count such as 3";
        let text = match &self.value {
            Value::Integer(count) => count.to_string(),
            _ => self.as_text(expected)?.trim().to_owned(),
        };
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent
                .trim_end()
                .parse()
                .ok()
                .filter(|percent| *percent <= 100)
                .map(MinWorking::Percent),
            None => text.parse().ok().map(MinWorking::Count),
        };
        parsed.ok_or_else(|| format!("{} is not {expected}", shown(&text)))
    }

    /// `log.level`: a level, or directives such as `info,procwarden::http=debug`.
    pub(super) fn log_filter(&self) -> Result<String, Problem> {
        let text = self.text()?;
        let levels = LEVELS.join(", ");
        // A word that is no level would be taken for a module: `inof` would silence all but a module of that name.
        let unknown = |directive: &&str| {
            let level = directive.rsplit('=').next().unwrap_or(directive).trim();
            !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))
        };
        if let Some(directive) = text.split(',').find(unknown) {
            return Err(format!(
                "{} has none of the levels {levels}; write info or info,procwarden::http=debug",
                shown(directive)
            ));
        }
        match text.parse::<Targets>() {
            Ok(_) => Ok(text),
            Err(_) => {
                Err(format!("{} is not a filter such as info,procwarden::http=debug", shown(&text)))
            }
        }
    }
}

/// The rule for names of instances: that of nodes' names, and not [`ANY`].
pub(super) fn check_instance(name: &str) -> Result<(), Problem> {
    check_name(name)?;
    if name == ANY {
        return Err(format!("must not be '{ANY}', which stands for every instance"));
    }
    Ok(())
}

fn parse_duration(text: &str) -> Result<Duration, Problem> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{} has no unit; write {DURATION_FORMS}", shown(text)));
    }
    humantime::parse_duration(text).map_err(|_| format!("{} is not {DURATION_FORMS}", shown(text)))
}

fn check_base_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        Err("must start with '/'")
    } else if path.ends_with('/') {
        Err("must not end with '/'")
    } else if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        Err("must not have empty, '.' or '..' parts")
    } else if path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b)) {
        Ok(())
    } else {
        Err("may have letters, digits and - . _ ~ only")
    }
}

fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@*\\".contains(&b))
}
