//! Tokens of the HTTP server: how they are written, and where their text comes from.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::fault::Fault;
use super::overrides::Overrides;
use super::parse::{Problem, shown};
use super::raw::{Raw, Value};
use super::settings::Settings;
use super::sources::Gathered;

/// As many hold at once: the one that goes and the one that comes.
const MOST: usize = 2;

/// Longest token, in bytes: a cookie that holds one, sealed, stays well under the 4096 bytes that browsers keep
/// (RFC 6265, 6.1).
pub const LONGEST: usize = 512;

/// Most that is read of a file.
const LONGEST_FILE: u64 = 4096;

/// A token as the server keeps it: its SHA-256. A long random token needs no slow hash, since nobody can try them all.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// That of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Is it this one? In a time that tells nothing: digests are compared, whole.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        self.is_digest(&Sha256::digest(given).into()).into()
    }

    /// The same for the digest of what was given.
    #[must_use]
    pub fn is_digest(&self, digest: &[u8; 32]) -> Choice {
        self.0.ct_eq(digest)
    }

    /// Its SHA-256, from which keys are made.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// A token as it is written.
enum Form {
    Text(Zeroizing<String>),
    Hash([u8; 32]),
    File(PathBuf),
    Environment(String),
}

impl Raw {
    /// Looks at the form of one or two tokens; what they name is read by [`finish`].
    pub(super) fn tokens(&self) -> Result<(), Problem> {
        self.forms().map(drop)
    }

    fn forms(&self) -> Result<Vec<Form>, Problem> {
        let texts = match &self.value {
            Value::List(_) => self.items()?,
            // A text of a file is one token, commas and all.
            Value::Text(_) if !self.is_loose() => vec![self.text()?],
            _ => self.text().and_then(|_| self.items())?,
        };
        if texts.is_empty() {
            return Err("must not be empty".to_owned());
        }
        if texts.len() > MOST {
            return Err(format!("has {} tokens; {MOST} may hold at once", texts.len()));
        }
        texts.into_iter().map(|text| form(text, &self.base)).collect()
    }
}

fn form(text: String, base: &Path) -> Result<Form, Problem> {
    if let Some(path) = text.strip_prefix("file:") {
        return if path.is_empty() {
            Err("file: must be followed by a path".to_owned())
        } else {
            Ok(Form::File(base.join(path)))
        };
    }
    if let Some(name) = text.strip_prefix("env:") {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        return if !name.is_empty() && name.bytes().all(is_name) {
            Ok(Form::Environment(name.to_owned()))
        } else {
            Err("env: must be followed by the name of a variable".to_owned())
        };
    }
    if let Some(hex) = text.strip_prefix("sha256:") {
        let digest = unhex(hex).ok_or("sha256: must be followed by 64 hexadecimal digits")?;
        return Ok(Form::Hash(digest));
    }
    check(&text).map(|()| Form::Text(Zeroizing::new(text)))
}

/// A token of `Authorization: Bearer`, so no spaces and only ASCII (RFC 6750, 2.1, is stricter still).
fn check(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("must be visible ASCII characters without spaces".to_owned())
    } else if text.len() > LONGEST {
        Err(format!("must have at most {LONGEST} characters, it has {}", text.len()))
    } else {
        Ok(())
    }
}

fn unhex(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.bytes().map(|byte| char::from(byte).to_digit(16));
    let digits: Vec<u8> =
        digits.map(|digit| digit.and_then(|it| u8::try_from(it).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

/// Reads the tokens, and what they name.
pub(super) fn finish(
    found: &mut Gathered,
    args: &Overrides,
    settings: &mut Settings,
    faults: &mut Vec<Fault>,
) {
    for key in ["server.token", "server.read_token"] {
        let Some(raw) = found.values.get(key) else { continue };
        // What is wrong with its form was told when it was looked at.
        let Ok(forms) = raw.forms() else { continue };
        let files = forms.iter().filter_map(|form| match form {
            Form::File(path) => Some(path.clone()),
            _ => None,
        });
        found.secret_files.extend(files);
        match resolved(forms, args) {
            Ok(tokens) if key == "server.token" => settings.server.token = tokens,
            Ok(tokens) => settings.server.read_token = tokens,
            Err(problem) => faults.push(Fault::new(key, &raw.source, problem)),
        }
    }
}

fn resolved(forms: Vec<Form>, args: &Overrides) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    for form in forms {
        let token = match form {
            Form::Text(text) => Token::of(&text),
            Form::Hash(digest) => Token(digest),
            Form::File(path) => {
                named(read(&path), &format!("the file {}", shown(&path.display().to_string())))?
            }
            Form::Environment(name) => {
                let value = args.named(&name).map(Zeroizing::new);
                named(
                    value.ok_or("is not set".to_owned()),
                    &format!("the environment variable {name}"),
                )?
            }
        };
        if tokens.contains(&token) {
            return Err("has the same token twice".to_owned());
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn named(text: Result<Zeroizing<String>, Problem>, place: &str) -> Result<Token, Problem> {
    let told = |problem: Problem| format!("{place} {problem}");
    let text = text.map_err(told)?;
    // An editor ends the line.
    let text = text.trim_end_matches(['\r', '\n']);
    check(text)
        .map(|()| Token::of(text))
        .map_err(|problem| told(format!("holds no token: it {problem}")))
}

/// The text of a file that is one: a FIFO would wait for a writer, and a device has no end.
fn read(path: &Path) -> Result<Zeroizing<String>, Problem> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err("is no regular file".to_owned());
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}
