//! Passwords that do not stand in the registry in clear: sealed by us (`vault`), somebody else's ciphertext (`laravel`), or
//! named only (`named`). The last two are opened when they are needed and kept nowhere.

mod key_file;
mod laravel;
mod named;
mod vault;

use std::fmt;
use std::sync::Arc;

use crate::config::Adopt;
use crate::domain::node::Password;

pub use key_file::{KeyFileError, read as read_key, read_or_make as make_key};
pub use laravel::{Fault, KeyFault};
pub use named::Missing;
pub use vault::{NoKey, SealFault, Vault};

/// The keys that open sealed passwords, in the order in which they are tried; cheap to clone.
///
/// Without any, every plain password is still itself.
#[derive(Clone, Default)]
pub struct Secrets {
    keys: Arc<[laravel::Key]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("keys", &self.keys.len()).finish()
    }
}

/// A setting that should be a key is none. The key itself is never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is no APP_KEY of Laravel's")]
pub struct KeyError {
    /// The setting, such as `adopt.laravel_key`; of a list, counted from 1.
    pub setting: String,
    /// What is wrong with it.
    #[source]
    pub fault: KeyFault,
}

/// Why a password cannot be opened, and what to do about it. The password's text is never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no key at all.
    #[error(
        "the password cannot be read: no adopt.laravel_key is given; set it to Laravel's APP_KEY"
    )]
    NoKey,
    /// None of the keys is the one that it was encrypted with, or it was changed since.
    #[error(
        "the password cannot be read: no key opens it; set adopt.laravel_key to Laravel's APP_KEY, and \
         adopt.laravel_previous_keys to those of before"
    )]
    WrongKey,
    /// It is ours, and no key of ours opened it.
    #[error(
        "the password cannot be read: no key opens it; give the key it was sealed with as secrets.key_file, secrets.key or \
         one of secrets.previous_keys, or set the password anew"
    )]
    Locked,
    /// It is named, and not to be found there.
    #[error("the password cannot be read")]
    Missing(#[from] Missing),
    /// No key would help.
    #[error("the password cannot be read; save it in Laravel once more")]
    Text(#[from] Fault),
}

impl Secrets {
    /// Reads the keys of the settings: the current one, then those of before. Empty ones are no keys, as an `APP_KEY=`
    /// that nobody has filled in.
    ///
    /// # Errors
    /// [`KeyError`] for the first that cannot be a key.
    pub fn new(adopt: &Adopt) -> Result<Self, KeyError> {
        let current = adopt.laravel_key.iter().map(|key| ("adopt.laravel_key".to_owned(), key));
        let previous = (1..)
            .zip(&adopt.laravel_previous_keys)
            .map(|(nth, key)| (format!("adopt.laravel_previous_keys[{nth}]"), key));
        let keys: Result<Vec<_>, _> = current
            .chain(previous)
            .filter(|(_, key)| !key.expose().is_empty())
            .map(|(setting, key)| {
                laravel::Key::parse(key.expose()).map_err(|fault| KeyError { setting, fault })
            })
            .collect();
        Ok(Self { keys: keys?.into() })
    }

    /// The password in clear: a plain one is itself.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn open(&self, password: &Password) -> Result<Password, Unreadable> {
        if !password.is_sealed() {
            return Ok(password.clone());
        }
        if password.is_locked() {
            return Err(Unreadable::Locked);
        }
        if let Some(name) = password.name() {
            return Ok(named::look_up(name)?);
        }
        if self.keys.is_empty() {
            return Err(Unreadable::NoKey);
        }
        match laravel::open(password.expose(), &self.keys)? {
            Some(clear) => Ok(Password::new(clear)),
            None => Err(Unreadable::WrongKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adopt(key: Option<&str>, previous: &[&str]) -> Adopt {
        let password = |text: &&str| Password::new((*text).to_owned());
        Adopt {
            laravel_key: key.as_ref().map(password),
            laravel_previous_keys: previous.iter().map(password).collect(),
            ..Adopt::default()
        }
    }

    #[test]
    fn a_plain_password_is_itself_with_or_without_keys() {
        let plain = Password::new("eyJpdiI6".to_owned());
        for key in [None, Some("0123456789abcdef")] {
            let opened = Secrets::new(&adopt(key, &[])).unwrap().open(&plain);
            assert_eq!(opened, Ok(plain.clone()));
        }
    }

    #[test]
    fn without_a_key_the_missing_setting_is_named_whatever_the_text_is() {
        for secrets in [Secrets::default(), Secrets::new(&adopt(Some(""), &["", ""])).unwrap()] {
            let error = secrets.open(&Password::laravel("nonsense".to_owned())).unwrap_err();
            assert_eq!(error, Unreadable::NoKey);
            assert!(error.to_string().contains("no adopt.laravel_key is given"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_by_its_setting_and_not_shown() {
        let good = "0123456789abcdef";
        let table = [
            (adopt(Some("hunter2"), &[]), "adopt.laravel_key", KeyFault::Length(7)),
            (adopt(Some("base64:hunter2!"), &[]), "adopt.laravel_key", KeyFault::NotBase64),
            (
                adopt(Some(good), &[good, "", "base64:aHVudGVyMg=="]),
                "adopt.laravel_previous_keys[3]",
                KeyFault::Length(7),
            ),
            (adopt(None, &["hunter2"]), "adopt.laravel_previous_keys[1]", KeyFault::Length(7)),
        ];
        for (adopt, setting, fault) in table {
            let error = Secrets::new(&adopt).unwrap_err();
            assert_eq!((error.setting.as_str(), &error.fault), (setting, &fault));
            let told = format!("{} {error:?}", crate::causes::chain(&error));
            assert!(!told.contains("hunter2") && !told.contains("aHVudGVyMg"), "{told}");
        }
    }

    #[test]
    fn keys_are_never_printed() {
        let secrets = Secrets::new(&adopt(Some("0123456789abcdef"), &[])).unwrap();
        assert_eq!(format!("{secrets:?}"), "Secrets { keys: 1 }");
    }
}
