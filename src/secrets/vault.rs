//! Passwords as they rest in our own table: sealed with AES-256-GCM, each bound to its node.
//!
//! A text is `procwarden-sealed:1:KEY:DATA`. KEY is the id of the key, so that keys can be changed one by one; DATA is
//! base64 of the nonce, the ciphertext and the tag. The node's id is authenticated with it: copied into another node's row
//! it opens with no key. Pure.

use std::fmt;

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

use crate::domain::node::{Password, SEALED};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a nonce (NIST SP 800-38D, 5.2.1.1); a random one is good for 2^32 passwords under one key (8.3).
const NONCE: usize = 12;
/// Bytes of a tag.
const TAG: usize = 16;

/// Keys are copied by hand, and lose the `=` at the end.
const OF_KEYS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A text is no key. Nothing of it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no key: 32 random bytes in base64 are wanted, as `openssl rand -base64 32` makes them")]
pub struct NoKey;

/// Why a password was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// There is no random nonce to be had.
    #[error("there are no random numbers")]
    Random,
    /// It is too long for the cipher.
    #[error("it is too long")]
    Long,
}

/// One key.
struct Key {
    /// The first four bytes of its hash, in hex.
    id: String,
    cipher: Aes256Gcm,
}

impl Key {
    fn parse(text: &str) -> Result<Self, NoKey> {
        let bytes = Zeroizing::new(OF_KEYS.decode(text.trim()).map_err(|_| NoKey)?);
        if bytes.len() != KEY {
            return Err(NoKey);
        }
        let hash = Sha256::new().chain_update(b"procwarden key\0").chain_update(&*bytes).finalize();
        let begin = hash.first_chunk().copied().unwrap_or_default();
        let id = format!("{:08x}", u32::from_be_bytes(begin));
        Ok(Self { id, cipher: Aes256Gcm::new_from_slice(&bytes).map_err(|_| NoKey)? })
    }
}

/// The keys at hand: the one that seals, and those of before, which only open.
pub struct Vault {
    keys: Vec<Key>,
    seals: bool,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Is this a key?
///
/// # Errors
/// [`NoKey`]
pub fn check(text: &str) -> Result<(), NoKey> {
    Key::parse(text).map(drop)
}

/// A new key, as text.
///
/// # Errors
/// [`SealFault::Random`]
pub fn new_key() -> Result<Password, SealFault> {
    let mut bytes = Zeroizing::new([0_u8; KEY]);
    getrandom::fill(&mut *bytes).map_err(|_| SealFault::Random)?;
    Ok(Password::new(STANDARD.encode(*bytes)))
}

impl Vault {
    /// From the current key, if there is one, and those of before.
    ///
    /// # Errors
    /// [`NoKey`] if one of them is none.
    pub fn new(current: Option<&Password>, previous: &[Password]) -> Result<Self, NoKey> {
        let texts = current.into_iter().chain(previous);
        let keys = texts.map(|text| Key::parse(text.expose())).collect::<Result<_, _>>()?;
        Ok(Self { keys, seals: current.is_some() })
    }

    /// The key that seals.
    fn current(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.seals)
    }

    /// How everything begins that the current key has sealed; none without one.
    #[must_use]
    pub fn current_prefix(&self) -> Option<String> {
        self.current().map(|key| format!("{SEALED}1:{}:", key.id))
    }

    /// Seals the password of a node with the current key; `None` without one.
    ///
    /// # Errors
    /// [`SealFault`]
    pub fn seal(&self, node: i64, clear: &str) -> Result<Option<String>, SealFault> {
        let (Some(key), Some(mut text)) = (self.current(), self.current_prefix()) else {
            return Ok(None);
        };
        let mut nonce = [0_u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealFault::Random)?;
        let mut data = Zeroizing::new(clear.as_bytes().to_vec());
        let aad = bound_to(node);
        let sealed =
            key.cipher.encrypt_inout_detached(&nonce.into(), aad.as_bytes(), (&mut **data).into());
        let tag = sealed.map_err(|_| SealFault::Long)?;
        STANDARD.encode_string([&nonce, &data[..], &tag[..]].concat(), &mut text);
        Ok(Some(text))
    }

    /// Opens what was sealed for this node; `None` if no key does.
    #[must_use]
    pub fn open(&self, node: i64, text: &str) -> Option<Password> {
        let (id, data) = text.strip_prefix(SEALED)?.strip_prefix("1:")?.split_once(':')?;
        let key = self.keys.iter().find(|key| key.id == id)?;
        let mut data = Zeroizing::new(STANDARD.decode(data).ok()?);
        let (nonce, rest) = data.split_first_chunk_mut::<NONCE>()?;
        let (buffer, tag) = rest.split_last_chunk_mut::<TAG>()?;
        let (nonce, tag) = ((*nonce).into(), (*tag).into());
        let aad = bound_to(node);
        key.cipher
            .decrypt_inout_detached(&nonce, aad.as_bytes(), (&mut *buffer).into(), &tag)
            .ok()?;
        Some(Password::new(std::str::from_utf8(buffer).ok()?.to_owned()))
    }
}

/// What is authenticated beside the password: where it belongs.
fn bound_to(node: i64) -> String {
    format!("procwarden_nodes.password:{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Password {
        Password::new(STANDARD.encode([byte; KEY]))
    }

    fn vault(current: Option<u8>, previous: &[u8]) -> Vault {
        let previous: Vec<_> = previous.iter().map(|byte| key(*byte)).collect();
        Vault::new(current.map(key).as_ref(), &previous).unwrap()
    }

    fn opened(vault: &Vault, node: i64, text: &str) -> Option<String> {
        vault.open(node, text).map(|it| it.expose().to_owned())
    }

    #[test]
    fn there_and_back_and_never_the_same_text() {
        let vault = vault(Some(1), &[]);
        for clear in ["", "hunter2", "пароль", &"x".repeat(1020)] {
            let one = vault.seal(7, clear).unwrap().unwrap();
            let two = vault.seal(7, clear).unwrap().unwrap();
            assert_ne!(one, two);
            assert!(one.is_ascii() && (clear.is_empty() || !one.contains(clear)), "{one}");
            assert_eq!(opened(&vault, 7, &one).as_deref(), Some(clear));
        }
    }

    #[test]
    fn a_text_that_was_moved_cut_or_changed_opens_with_no_key() {
        let vault = vault(Some(1), &[]);
        let text = vault.seal(7, "hunter2").unwrap().unwrap();
        assert_eq!(opened(&vault, 8, &text), None, "another node's row");
        let data = text.rfind(':').unwrap() + 1;
        for at in data..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(opened(&vault, 7, &other), None, "{at}");
            assert_eq!(opened(&vault, 7, &text[..at]), None, "{at}");
        }
        for other in ["", "hunter2", SEALED, "procwarden-sealed:1::", "procwarden-sealed:2:a:b"] {
            assert_eq!(opened(&vault, 7, other), None);
        }
    }

    #[test]
    fn a_new_key_seals_and_the_one_before_still_opens() {
        let text = vault(Some(1), &[]).seal(7, "hunter2").unwrap().unwrap();
        assert_eq!(opened(&vault(Some(2), &[]), 7, &text), None);
        let both = vault(Some(2), &[1]);
        assert_eq!(opened(&both, 7, &text).as_deref(), Some("hunter2"));
        let anew = both.seal(7, "hunter2").unwrap().unwrap();
        assert!(anew.starts_with(&both.current_prefix().unwrap()));
        assert!(!text.starts_with(&both.current_prefix().unwrap()));
        assert_eq!(opened(&vault(Some(1), &[]), 7, &anew), None);
        let opens_only = vault(None, &[1]);
        assert_eq!(opens_only.seal(7, "x"), Ok(None));
        assert_eq!(opened(&opens_only, 7, &text).as_deref(), Some("hunter2"));
    }

    #[test]
    fn what_is_no_key_is_said_and_not_shown() {
        let made = new_key().unwrap();
        assert_ne!(made, new_key().unwrap());
        assert_eq!(check(&format!("{}\n", made.expose().trim_end_matches('='))), Ok(()));
        let short = STANDARD.encode(b"hunter2");
        for text in ["", "hunter2", &short, &"A".repeat(42), "base64:"] {
            let fault = check(text).unwrap_err();
            assert!(text.is_empty() || !format!("{fault} {fault:?}").contains(text), "{text}");
        }
        assert_eq!(format!("{:?}", vault(Some(1), &[2])), "Vault { keys: 2, .. }");
    }
}
