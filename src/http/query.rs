//! Query parameters, read strictly: a known name has a known kind of value, given at most once.
//! Unknown names are ignored, and so is an empty value, which is what an unset filter of a form sends.

use std::borrow::Cow;
use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode;

use super::error::Problem;
use crate::domain::Method;

/// How much of a refused value is repeated to its sender.
const SHOWN: usize = 64;

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Takes the part of a URL after `?` apart; what is no UTF-8 becomes U+FFFD and so is no known word.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The value of a parameter; `None` if it is absent or empty.
    ///
    /// # Errors
    /// 400 if it is given more than once.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        Ok(self.raw(name)?.filter(|value| !value.is_empty()))
    }

    fn raw(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::parameter(name, "is given more than once"));
        }
        Ok(first.map(String::as_str))
    }

    /// One of a list of words.
    ///
    /// # Errors
    /// 400 for any other word.
    pub fn word<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let found = words.iter().copied().find(|word| *word == value);
        found.map(Some).ok_or_else(|| none_of(name, value, words))
    }

    /// Several words of a list, divided by commas.
    ///
    /// # Errors
    /// 400 for any other word.
    pub fn words<'a>(&self, name: &str, words: &[&'a str]) -> Result<Vec<&'a str>, Problem> {
        let given = self.get(name)?.unwrap_or_default().split(',').filter(|it| !it.is_empty());
        given
            .map(|value| {
                let found = words.iter().copied().find(|word| *word == value);
                found.ok_or_else(|| none_of(name, value, words))
            })
            .collect()
    }

    /// A flag: `?name`, `?name=true`, `?name=1`.
    ///
    /// # Errors
    /// 400 for any value but these, `false` and `0`.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.raw(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(value) => Err(none_of(name, value, &["true", "false", "1", "0"])),
        }
    }

    /// A switch that a form may leave empty: only `true` and `1` turn it on.
    ///
    /// # Errors
    /// 400 for any value but these, `false` and `0`.
    pub fn switch(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.get(name)?.is_some() && self.flag(name)?)
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn number(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, Problem> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        whole(value, min, max).map(Some).map_err(|fault| Problem::parameter(name, fault))
    }

    /// `?method=`; it is no filter, so an empty one is as wrong as any other word.
    ///
    /// # Errors
    /// 400 for an unknown method.
    pub fn method(&self) -> Result<Option<Method>, Problem> {
        let Some(value) = self.raw("method")? else { return Ok(None) };
        let method = Method::from_str(value)
            .map_err(|_| none_of("method", value, &Method::ALL.map(Method::as_str)))?;
        Ok(Some(method))
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query()))
    }
}

/// A whole number in decimal digits, within bounds.
///
/// # Errors
/// Says what was given and what is allowed.
pub fn whole(value: &str, min: i64, max: i64) -> Result<i64, String> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number: Option<i64> = value.parse().ok().filter(|_| digits);
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("'{}' is no whole number from {min} to {max}", shown(value)))
}

fn none_of(name: &str, value: &str, words: &[&str]) -> Problem {
    let fault = format!("'{}' is none of {}", shown(value), words.join(", "));
    Problem::parameter(name, fault).with("allowed", words.to_vec())
}

/// The start of a value that may be long.
fn shown(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}...", &value[..end])),
        None => Cow::Borrowed(value),
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: &Problem) -> String {
        serde_json::to_value(problem).unwrap()["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn an_unknown_value_names_the_parameter_and_what_is_allowed() {
        let problem = Params::parse(Some("method=foo")).method().unwrap_err();
        assert_eq!(text(&problem), "method: 'foo' is none of pid, port, api, full");
        let problem = Params::parse(Some("limit=0")).number("limit", 1, 10).unwrap_err();
        assert_eq!(text(&problem), "limit: '0' is no whole number from 1 to 10");
        assert!(Params::parse(Some("limit=%2B5")).number("limit", 1, 10).is_err());
        assert!(Params::parse(Some("limit=99999999999999999999")).number("limit", 1, 10).is_err());
    }

    #[test]
    fn empty_and_unknown_are_ignored_and_repeated_is_refused() {
        let params = Params::parse(Some("method=&colour=red&a=%20x&a=y&&"));
        assert!(params.method().is_err());
        assert_eq!(params.get("method").unwrap(), None);
        assert!(text(&params.get("a").unwrap_err()).contains("more than once"));
        assert!(Params::parse(Some("verbose")).flag("verbose").unwrap());
        assert!(!Params::parse(Some("force=")).switch("force").unwrap());
        assert!(Params::parse(Some("force=yes")).switch("force").is_err());
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let query = format!("method={}", "я".repeat(500));
        let problem = Params::parse(Some(&query)).method().unwrap_err();
        assert!(text(&problem).chars().count() < 130);
    }
}
