//! Secrets are taken out of whatever is shown: command lines, URLs and the JSON of locks.
//!
//! Where it is unclear whether something is a secret, it is masked: a word too few is a nuisance, a password too
//! many is in a log for ever.

mod parts;

use std::fmt::Write as _;

use serde_json::{Map, Value};

use parts::{mask_behind_marks, mask_embedded, mask_parts};

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// How deep quoted command lines are looked into (`sh -c "sh -c '...'"`); deeper ones are masked whole.
const DEPTH: usize = 4;

/// How far a closing quote or the `@` after a password is looked for, in bytes: a text full of openings must not
/// cost its square.
const QUOTED: usize = 1024;

/// How much of a value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secret {
    /// All of it.
    Whole,
    /// What follows the first colon, or all where there is none.
    Login,
    /// What follows the first colon; nothing where there is none.
    User,
}

impl Secret {
    fn mask(self, value: &str) -> String {
        match (self, value.split_once(':')) {
            (Self::Login | Self::User, Some((user, _))) => format!("{user}:{MASK}"),
            (Self::User, None) => value.to_owned(),
            (Self::Whole, _) | (Self::Login, None) => MASK.to_owned(),
        }
    }
}

/// The arguments of a program as one line, without the values of secret options (`--opt value`, `--opt=value`,
/// `NAME=value`, `Name: value`) and without what [`mask_url`] takes out. `--rpc-login user:pw` keeps the user.
#[must_use]
pub fn mask_arguments<S: AsRef<str>>(arguments: &[S]) -> String {
    let mut line = String::new();
    let mut pending = None;
    for (nth, argument) in arguments.iter().enumerate() {
        if nth > 0 {
            line.push(' ');
        }
        line.push_str(&mask_next(argument.as_ref(), &mut pending, DEPTH));
    }
    line
}

/// A text with every URL in it stripped of userinfo, query and any fragment that holds a parameter.
///
/// `https://user:pw@example.org/hook?wave=7` becomes `https://***@example.org/hook?***`.
#[must_use]
pub fn mask_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_url = false;
    while let Some((before, found, after)) = next_mark(rest, in_url) {
        out.push_str(before);
        out.push_str(found);
        rest = match found {
            "://" => {
                in_url = true;
                mask_userinfo(after, &mut out)
            }
            "?" => skip_parameters(after, |it| it == '#' || ends_url(it), |_| true, &mut out),
            "#" => skip_parameters(after, ends_url, |it| it.contains('='), &mut out),
            _ => {
                in_url = false;
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// A JSON object without its secrets, at any depth: values under keys like `token`, `secret` and `password`, and
/// in every string URLs' userinfo and query and the secret options of a command line. `null` and booleans stay.
#[must_use]
pub fn mask_json(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(key, value)| {
            let value = match secret_key(&key) {
                Some(secret) => mask_secret(secret, value),
                None => mask_value(value),
            };
            (key, value)
        })
        .collect()
}

/// Prose of somebody else, such as the text of an error: URLs and the values of secret names, as in a command line.
#[must_use]
pub fn mask_prose(text: &str) -> String {
    mask_line(text, DEPTH)
}

/// A text on one line: control characters are written as escapes.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        // The two separators break lines in terminals and browsers, too.
        if it.is_control() || matches!(it, '\u{2028}' | '\u{2029}') {
            let _ = write!(out, "{}", it.escape_default());
        } else {
            out.push(it);
        }
    }
    out
}

fn mask_secret(secret: Secret, value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        Value::String(text) => Value::String(secret.mask(&text)),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => Value::String(MASK.to_owned()),
    }
}

fn mask_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(mask_value).collect()),
        Value::Object(object) => Value::Object(mask_json(object)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A string of a lock: prose and paths stay as they are; where it has options or secret names, it is a command line.
fn mask_text(text: &str) -> String {
    if let Some(masked) = mask_embedded(text) {
        return masked;
    }
    let names_secret = |word: &str| {
        let end = word.find(['=', ':']).filter(|at| is_name(&word[..*at]));
        end.is_some_and(|at| secret_option(&word[..at]) == Some(Secret::Whole))
    };
    let is_command =
        |word: &str| word.starts_with("--") || word.split([';', '&']).any(names_secret);
    let is_line = text.split_whitespace().any(is_command);
    if is_line { mask_line(text, DEPTH) } else { mask_url(text) }
}

/// One argument, after an option that may have asked for its value.
fn mask_next(argument: &str, pending: &mut Option<Secret>, depth: usize) -> String {
    match pending.take() {
        Some(secret) if SCHEMES.contains(&argument.to_lowercase().as_str()) => {
            *pending = Some(secret);
            argument.to_owned()
        }
        Some(secret) if !is_option(argument) => secret.mask(argument),
        _ => mask_argument(argument, pending, depth),
    }
}

/// Words that stand between `Authorization:` and its secret (RFC 9110, 11.1).
const SCHEMES: [&str; 4] = ["bearer", "basic", "digest", "token"];

fn mask_argument(argument: &str, pending: &mut Option<Secret>, depth: usize) -> String {
    if let Some((name, value)) = argument.split_once('=').filter(|(name, _)| is_name(name)) {
        let own = secret_option(name).filter(|secret| *secret != Secret::User);
        if own.is_none()
            && let Some(masked) = mask_parts(argument)
        {
            return masked;
        }
        let value = match secret_option(name) {
            Some(secret) => secret.mask(value),
            None => mask_part(value, depth),
        };
        return format!("{name}={value}");
    }
    if let Some((name, value)) = argument.split_once(": ").filter(|(name, _)| is_name(name)) {
        if secret_option(name).is_some() {
            return format!("{name}: {MASK}");
        }
        return format!("{name}: {}", mask_part(value, depth));
    }
    if let Some(name) = argument.strip_suffix(':').filter(|name| is_name(name))
        && secret_option(name) == Some(Secret::Whole)
    {
        *pending = Some(Secret::Whole);
        return argument.to_owned();
    }
    if argument.starts_with('-') && is_name(argument) {
        *pending = secret_option(argument);
        return argument.to_owned();
    }
    mask_part(argument, depth)
}

/// A value without a name: a command line of its own, an address, or a plain word.
fn mask_part(text: &str, depth: usize) -> String {
    if let Some(masked) = mask_embedded(text) {
        return masked;
    }
    if text.contains(char::is_whitespace) {
        return depth
            .checked_sub(1)
            .map_or_else(|| MASK.to_owned(), |depth| mask_line(text, depth));
    }
    if !text.contains("://")
        && let Some((user, host)) = text.rsplit_once('@')
        && user.contains(':')
    {
        return format!("{MASK}@{host}");
    }
    if text.contains("://") {
        mask_url(text)
    } else {
        mask_parts(text).or_else(|| mask_behind_marks(text)).unwrap_or_else(|| text.to_owned())
    }
}

/// A command line inside one argument, with its spaces as they are.
fn mask_line(line: &str, depth: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let mut pending = None;
    let mut rest = line;
    while !rest.is_empty() {
        let (space, after) = rest.split_at(rest.len() - rest.trim_start().len());
        out.push_str(space);
        let (word, after) = after.split_at(word_length(after));
        let quote = word.chars().next().filter(|it| matches!(it, '"' | '\''));
        let inner = quote.and_then(|it| word.strip_prefix(it)?.strip_suffix(it));
        match (quote, inner) {
            (Some(quote), Some(inner)) => {
                let _ = write!(out, "{quote}{}{quote}", mask_next(inner, &mut pending, depth));
            }
            _ => out.push_str(&mask_next(word, &mut pending, depth)),
        }
        rest = after;
    }
    out
}

/// How long the word at the start is: to the first space outside quotes; a quote that does not close is a plain letter.
fn word_length(text: &str) -> usize {
    let mut open = None;
    for (at, it) in text.char_indices() {
        if open.is_some() && at > QUOTED {
            break;
        }
        match open {
            Some(quote) if quote == it => open = None,
            None if matches!(it, '"' | '\'') => open = Some(it),
            None if it.is_whitespace() => return at,
            _ => {}
        }
    }
    if open.is_none() { text.len() } else { text.find(char::is_whitespace).unwrap_or(text.len()) }
}

/// `--like-this`, with or without a value: certainly the next option and not the value of the last.
fn is_option(argument: &str) -> bool {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name);
    name.strip_prefix("--").is_some_and(|name| {
        name.starts_with(|it: char| it.is_ascii_lowercase())
            && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'))
}

/// Parts of a name, written together, that make its value a secret anywhere.
const SECRET: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "mnemonic",
    "cookie",
];

fn secret_option(name: &str) -> Option<Secret> {
    let words = words(name);
    let joined = words.concat();
    let last = words.last().map_or("", String::as_str);
    // `--password-file` says where it is.
    if last == "file" {
        return None;
    }
    if SECRET.iter().any(|part| joined.contains(part))
        || words.iter().any(|it| matches!(it.as_str(), "key" | "keys" | "auth" | "pass" | "pwd" | "pw"))
        // `--electrum-seed` holds a wallet; `--seed-node` is an address.
        || last == "seed"
    {
        Some(Secret::Whole)
    } else if words.iter().any(|it| it == "login") {
        Some(Secret::Login)
    } else if matches!(last, "u" | "user") {
        Some(Secret::User)
    } else {
        None
    }
}

fn secret_key(key: &str) -> Option<Secret> {
    let words = words(key);
    let joined = words.concat();
    let last = words.last().map_or("", String::as_str);
    if SECRET.iter().any(|part| joined.contains(part))
        || matches!(last, "pass" | "pwd" | "auth" | "seed")
    {
        Some(Secret::Whole)
    } else if last == "login" {
        Some(Secret::User)
    } else {
        None
    }
}

/// The words of `--rpc-login`, `API_KEY` or `apiKey`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for it in name.chars() {
        let starts_word = after_lower && it.is_uppercase();
        after_lower = it.is_lowercase();
        if !it.is_alphanumeric() || starts_word {
            words.push(String::new());
        }
        if it.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(it.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn ends_url(it: char) -> bool {
    it.is_whitespace() || matches!(it, '"' | '\'' | '<' | '>' | '`')
}

/// What comes next in a text with URLs: the text before it, the mark, the text after it.
fn next_mark(text: &str, in_url: bool) -> Option<(&str, &str, &str)> {
    let scheme = text.find("://").map(|at| (at, 3));
    // Not beyond the next scheme: a text that is all schemes must not cost its square.
    let before = scheme.and_then(|(at, _)| text.get(..at)).unwrap_or(text);
    let inside = if in_url {
        before
            .char_indices()
            .find(|(_, it)| matches!(it, '?' | '#') || ends_url(*it))
            .map(|(at, it)| (at, it.len_utf8()))
    } else {
        None
    };
    let (at, length) = scheme.into_iter().chain(inside).min()?;
    Some((text.get(..at)?, text.get(at..at + length)?, text.get(at + length..)?))
}

/// Masks the userinfo at the start of what follows `://` and returns what follows the userinfo.
fn mask_userinfo<'a>(text: &'a str, out: &mut String) -> &'a str {
    // A password may hold quotes and other characters that should have been escaped.
    let near = text.get(..text.floor_char_boundary(QUOTED)).unwrap_or(text);
    let word = near.split(char::is_whitespace).next().unwrap_or(near);
    let authority = word.split(['/', '?', '#']).next().unwrap_or(word);
    let port = if authority.starts_with('[') { None } else { authority.split_once(':') };
    let is_cut = port.is_some_and(|(_, port)| !port.bytes().all(|it| it.is_ascii_digit()));
    let end = match authority.rfind('@') {
        Some(at) => Some(at),
        None if is_cut => word.rfind('@'),
        None => None,
    };
    match end {
        Some(at) => {
            out.push_str(MASK);
            text.get(at..).unwrap_or("")
        }
        None => text,
    }
}

fn skip_parameters<'a>(
    text: &'a str,
    ends: impl Fn(char) -> bool,
    is_secret: impl Fn(&str) -> bool,
    out: &mut String,
) -> &'a str {
    let (parameters, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    out.push_str(if parameters.is_empty() || !is_secret(parameters) { parameters } else { MASK });
    rest
}

#[cfg(test)]
mod tests;
