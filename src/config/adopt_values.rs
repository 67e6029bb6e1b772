//! Values of `[adopt]`: names in their database, and Laravel's keys.

use super::adopt::TableName;
use super::parse::Problem;
use super::raw::Raw;
use crate::domain::node::Password;

/// Most characters of a name; PostgreSQL's limit, which is the least (`NAMEDATALEN` - 1).
const NAME: usize = 63;

/// What begins the names of our own tables.
const OURS: &str = "procwarden_";

/// What a key of Laravel looks like. The key itself is never repeated.
const KEY_FORMS: &str = "must be an APP_KEY as Laravel's .env has it: base64: with 16 or 32 bytes \
                         behind it, or 16 or 32 characters as they are";

impl Raw {
    /// The name of a column, or a key of a JSON object. Whoever writes SQL quotes it.
    pub(super) fn name(&self) -> Result<String, Problem> {
        let name = self.as_text("text")?;
        check_identifier(name)?;
        Ok(name.to_owned())
    }

    /// The same, or none: `""`. An empty variable counts as not given, so there the two quotes may stand as they are.
    pub(super) fn name_or_none(&self) -> Result<Option<String>, Problem> {
        match self.as_text("text")? {
            "" => Ok(None),
            "\"\"" if self.is_loose() => Ok(None),
            _ => self.name().map(Some),
        }
    }

    /// `table` or `schema.table`, and none of our own.
    pub(super) fn table(&self) -> Result<TableName, Problem> {
        let text = self.as_text("text")?;
        let (schema, table) =
            text.split_once('.').map_or((None, text), |(schema, table)| (Some(schema), table));
        if table.contains('.') {
            return Err("must be table or schema.table, with one dot at most".to_owned());
        }
        schema.map_or(Ok(()), check_identifier)?;
        check_identifier(table)?;
        if table.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS)) {
            return Err("is a table of procwarden's own: name theirs".to_owned());
        }
        Ok(TableName { schema: schema.map(str::to_owned), table: table.to_owned() })
    }

    /// An `APP_KEY`.
    pub(super) fn laravel_key(&self) -> Result<Password, Problem> {
        laravel_key(self.as_text("text")?)
    }

    /// `APP_PREVIOUS_KEYS`.
    pub(super) fn laravel_keys(&self) -> Result<Vec<Password>, Problem> {
        let keys: Vec<Password> =
            self.items()?.iter().map(|text| laravel_key(text)).collect::<Result<_, _>>()?;
        let is_twice = |(at, key): (usize, &Password)| keys[..at].contains(key);
        if keys.iter().enumerate().any(is_twice) {
            return Err("has the same key twice".to_owned());
        }
        Ok(keys)
    }
}

fn check_identifier(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if name.is_empty() {
        Err("must not be empty".to_owned())
    } else if name.chars().any(char::is_control) {
        Err("must not contain control characters".to_owned())
    } else if name.contains(['"', '\'', '`', '\\']) {
        Err("must be written without quotes and backslashes".to_owned())
    } else if name.trim() != name {
        Err("must not begin or end with a space".to_owned())
    } else if length > NAME {
        Err(format!("must have 1 to {NAME} characters, it has {length}"))
    } else {
        Ok(())
    }
}

/// Padded, if the padding was lost: PHP's `base64_decode` does without.
fn laravel_key(text: &str) -> Result<Password, Problem> {
    let Some(encoded) = text.strip_prefix("base64:") else {
        return match text.len() {
            16 | 32 if !text.contains('\u{FFFD}') => Ok(Password::new(text.to_owned())),
            _ => Err(KEY_FORMS.to_owned()),
        };
    };
    let digits = encoded.trim_end_matches('=');
    // 16 bytes are 22 digits and 4 bits too many, 32 bytes 43 and 2.
    let (whole, spare) = match digits.len() {
        22 => (24, 0b1111),
        43 => (44, 0b11),
        _ => return Err(KEY_FORMS.to_owned()),
    };
    let values: Option<Vec<u8>> = digits.bytes().map(base64_digit).collect();
    let is_good = encoded.len() <= whole
        && values.as_deref().and_then(<[u8]>::last).is_some_and(|last| last & spare == 0);
    if is_good {
        Ok(Password::new(format!("base64:{digits:=<whole$}")))
    } else {
        Err(KEY_FORMS.to_owned())
    }
}

/// What a digit stands for (RFC 4648, table 1).
const fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_16_or_32_bytes_in_either_form() {
        let good = [
            // The bytes 0 to 15, and 0 to 31.
            "base64:AAECAwQFBgcICQoLDA0ODw==",
            "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
            "ключключ",
        ];
        for text in good {
            assert_eq!(laravel_key(text).unwrap().expose(), text);
        }
        let bare = laravel_key("base64:AAECAwQFBgcICQoLDA0ODw").unwrap();
        assert_eq!(bare.expose(), "base64:AAECAwQFBgcICQoLDA0ODw==");
    }

    #[test]
    fn another_one_is_refused_and_not_repeated() {
        let bad = [
            "",
            "base64:",
            "hunter2",
            "base64:hunter2hunter2",
            "base64:hunter2hunter2hunter2h-",
            "base64:AAECAwQFBgcICQoLDA0ODx==",
            "base64:AAECAwQFBgcICQoLDA0ODw===",
            "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
            "base64:hunter2hunter2hunter2hunter2hunter2hunter2",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ];
        for text in bad {
            let problem = laravel_key(text).unwrap_err();
            assert!(problem.contains("16 or 32") && !problem.contains("hunter2"), "{problem}");
        }
    }
}
