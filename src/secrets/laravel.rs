//! Laravel's encrypted strings (`Crypt::encryptString`, the cast `encrypted`): the format, and nothing of whose they are.
//!
//! A text is base64 of a JSON object with `iv`, `value`, `mac` and `tag`, which are base64 themselves but for `mac`, in
//! hex. With a `tag` it is AES-GCM; without, AES-CBC with an HMAC-SHA-256 over the *texts* of `iv` and `value`. The key's
//! length says whether AES-128 or AES-256. The plaintext is the string itself, not serialized by PHP.

use std::fmt::Write as _;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use aes::{Aes128, Aes256};
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, Mac as _};
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The longest text that is looked at, in bytes: what a column of the type TEXT holds.
const LONGEST: usize = 64 * 1024;

const CBC_IV: usize = 16;
const GCM_IV: usize = 12;
const GCM_TAG: usize = 16;

/// As forgiving with keys as PHP is: people copy them by hand, and lose the `=` at the end.
const OF_KEYS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It says that it is base64, and is not.
    #[error("what follows 'base64:' is not base64")]
    NotBase64,
    /// No cipher has a key of so many bytes.
    #[error("it has {0} bytes, not 16 or 32")]
    Length(usize),
}

/// Why a text cannot have been made by Laravel, or holds no password. Nothing of the text is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Too long to be looked at.
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// Not base64, or not as PHP writes it.
    #[error("it is not base64")]
    NotBase64,
    /// Not JSON inside.
    #[error("it is not JSON in base64")]
    NotJson,
    /// JSON, but no object.
    #[error("its JSON is not an object")]
    NotAnObject,
    /// A field is missing, or is no text.
    #[error("its JSON has no text '{0}'")]
    Missing(&'static str),
    /// A field is no base64.
    #[error("its '{0}' is not base64")]
    NotBase64Inside(&'static str),
    /// An initialization vector that the cipher cannot take.
    #[error("its 'iv' has {found} bytes, not {wanted}")]
    IvLength {
        /// What it has.
        found: usize,
        /// What the cipher needs.
        wanted: usize,
    },
    /// A tag that is cut off, or too long.
    #[error("its 'tag' has {0} bytes, not 16")]
    TagLength(usize),
    /// Rightly signed, but no ciphertext: not whole blocks, or its padding is wrong.
    #[error("its 'value' is no ciphertext")]
    NotCiphertext,
    /// It was opened, and is no text.
    #[error("what it holds is not UTF-8")]
    NotUtf8,
}

/// An `APP_KEY`, wiped when dropped.
pub struct Key {
    bytes: Zeroizing<Vec<u8>>,
    /// Ready to sign with it.
    hmac: Hmac<Sha256>,
}

impl Key {
    /// Reads `base64:...`, or the raw 16 or 32 characters of old.
    ///
    /// # Errors
    /// [`KeyFault`]
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let bytes = Zeroizing::new(match text.strip_prefix("base64:") {
            Some(encoded) => OF_KEYS.decode(encoded).map_err(|_| KeyFault::NotBase64)?,
            None => text.as_bytes().to_vec(),
        });
        let length = KeyFault::Length(bytes.len());
        if !matches!(bytes.len(), 16 | 32) {
            return Err(length);
        }
        let hmac = Hmac::new_from_slice(&bytes).map_err(|_| length)?;
        Ok(Self { bytes, hmac })
    }

    /// For AES-256?
    fn is_long(&self) -> bool {
        self.bytes.len() == 32
    }
}

/// Opens a text with the first of the keys that it belongs to; `None` if it belongs to none of them.
///
/// # Errors
/// [`Fault`] where no key would help.
pub fn open(text: &str, keys: &[Key]) -> Result<Option<String>, Fault> {
    let payload = Payload::parse(text)?;
    for key in keys {
        let mut buffer = Zeroizing::new(payload.ciphertext.clone());
        if let Some(length) = payload.decrypt(key, &mut buffer)? {
            let clear = std::str::from_utf8(&buffer[..length]).map_err(|_| Fault::NotUtf8)?;
            // Made in its full size, so that it is not copied once more on its way into a `Password`.
            return Ok(Some(clear.to_owned()));
        }
    }
    Ok(None)
}

/// What is inside a text.
struct Payload {
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    proof: Proof,
}

/// What tells the right key from a wrong one.
enum Proof {
    /// CBC: the MAC in hex, and what it was made of.
    Mac { mac: String, signed: String },
    /// GCM: the cipher's own.
    Tag([u8; GCM_TAG]),
}

impl Payload {
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > LONGEST {
            return Err(Fault::TooLong);
        }
        let json = STANDARD.decode(text).map_err(|_| Fault::NotBase64)?;
        let fields = match serde_json::from_slice(&json) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(Fault::NotAnObject),
            Err(_) => return Err(Fault::NotJson),
        };
        let (iv, value) = (field(&fields, "iv")?, field(&fields, "value")?);
        let mac = field(&fields, "mac")?;
        // Laravel wrote none before it knew of GCM.
        let tag = match fields.get("tag") {
            None | Some(Value::Null) => "",
            Some(_) => field(&fields, "tag")?,
        };
        let (proof, wanted) = if tag.is_empty() {
            (Proof::Mac { mac: mac.to_owned(), signed: format!("{iv}{value}") }, CBC_IV)
        } else {
            let tag = decode("tag", tag)?;
            (
                Proof::Tag(tag.try_into().map_err(|tag: Vec<u8>| Fault::TagLength(tag.len()))?),
                GCM_IV,
            )
        };
        let iv = decode("iv", iv)?;
        if iv.len() != wanted {
            return Err(Fault::IvLength { found: iv.len(), wanted });
        }
        Ok(Self { iv, ciphertext: decode("value", value)?, proof })
    }

    /// Decrypts `buffer`, which holds the ciphertext, in place. How much of it is plaintext; `None` if the key is not
    /// the right one, and then nothing was decrypted.
    fn decrypt(&self, key: &Key, buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
        let iv = &self.iv;
        match &self.proof {
            Proof::Mac { mac, signed } => {
                if !is_signed_with(key, signed, mac) {
                    return Ok(None);
                }
                let length = if key.is_long() {
                    cbc::<Aes256>(key, iv, buffer)
                } else {
                    cbc::<Aes128>(key, iv, buffer)
                };
                length.map(Some).ok_or(Fault::NotCiphertext)
            }
            Proof::Tag(tag) => {
                let opened = if key.is_long() {
                    gcm::<Aes256Gcm>(key, iv, tag, buffer)
                } else {
                    gcm::<Aes128Gcm>(key, iv, tag, buffer)
                };
                Ok(opened.then_some(buffer.len()))
            }
        }
    }
}

fn field<'a>(fields: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Fault> {
    fields.get(name).and_then(Value::as_str).ok_or(Fault::Missing(name))
}

fn decode(name: &'static str, text: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|_| Fault::NotBase64Inside(name))
}

/// Compares the hex texts, as PHP's `hash_equals` does: in a time that tells nothing of where they differ.
fn is_signed_with(key: &Key, signed: &str, mac: &str) -> bool {
    mac_of(key, signed).as_bytes().ct_eq(mac.as_bytes()).into()
}

/// HMAC-SHA-256 in lower-case hex.
fn mac_of(key: &Key, signed: &str) -> String {
    let mut hmac = key.hmac.clone();
    hmac.update(signed.as_bytes());
    hmac.finalize().into_bytes().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn cbc<C: BlockCipherDecrypt + KeyInit>(key: &Key, iv: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(&key.bytes, iv).ok()?;
    cipher.decrypt_padded::<Pkcs7>(buffer).ok().map(<[u8]>::len)
}

fn gcm<C: AeadInOut + KeyInit>(key: &Key, iv: &[u8], tag: &[u8], buffer: &mut [u8]) -> bool {
    let (Ok(cipher), Ok(nonce), Ok(tag)) =
        (C::new_from_slice(&key.bytes), iv.try_into(), tag.try_into())
    else {
        return false;
    };
    cipher.decrypt_inout_detached(nonce, b"", buffer.into(), tag).is_ok()
}

#[cfg(test)]
mod tests;
