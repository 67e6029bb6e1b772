//! Values that are made of parts with names of their own: JSON in a string, data sources, bodies of forms.

use serde_json::Value;

use super::{MASK, Secret, is_name, mask_value, secret_option};

/// JSON in a string, such as the body of a request; `None` if it is none.
pub(super) fn mask_embedded(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    Some(mask_value(value).to_string())
}

/// `mysql:host=db;user=u;password=pw`, `user=u&password=pw`: each part by its own name. `None` where no part is secret.
pub(super) fn mask_parts(text: &str) -> Option<String> {
    if text.contains("://") || text.contains(char::is_whitespace) {
        return None;
    }
    let separator = if text.contains(';') { ';' } else { '&' };
    let (mut parts, mut is_secret, mut found) = (Vec::new(), false, false);
    for part in text.split(separator) {
        // A part without a name belongs to the value before it.
        let name = part.split_once('=').map(|(name, _)| name);
        is_secret = name.map_or(is_secret, is_secret_part);
        found |= is_secret;
        match name {
            Some(name) if is_secret => parts.push(format!("{name}={MASK}")),
            None if is_secret && !part.is_empty() => {}
            _ => parts.push(part.to_owned()),
        }
    }
    found.then(|| parts.join(&separator.to_string()))
}

/// `(password=pw`, `<b>token=t`: prose puts marks before a name. `None` where that name is no secret, and for addresses.
pub(super) fn mask_behind_marks(text: &str) -> Option<String> {
    let (before, _) = text.split_once('=').filter(|(before, _)| !before.contains("://"))?;
    let is_part = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let name = &before[before.trim_end_matches(is_part).len()..];
    (is_name(name) && secret_option(name) == Some(Secret::Whole))
        .then(|| format!("{before}={MASK}"))
}

fn is_secret_part(name: &str) -> bool {
    let name = name.rsplit(':').next().unwrap_or(name).trim();
    is_name(name) && secret_option(name) == Some(Secret::Whole)
}
