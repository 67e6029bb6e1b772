//! Which encoding of a body a request takes best (RFC 9110, section 12.5.3).

use axum::http::{HeaderMap, HeaderValue, header};

/// How a body is packed; the later, the smaller our lists become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// Its word in `Content-Encoding`; none for a body as it is.
    #[must_use]
    pub const fn word(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }

    /// What is added to the mark of a body in it.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "-gzip",
            Self::Zstd => "-zstd",
        }
    }

    /// What the request takes most gladly; of two that are equal, the smaller body.
    #[must_use]
    pub fn chosen(request: &HeaderMap) -> Self {
        Self::chosen_of(request, &Self::ALL)
    }

    /// The same of these, or none.
    #[must_use]
    pub fn chosen_of(request: &HeaderMap, offered: &[Self]) -> Self {
        let (mut gzip, mut zstd, mut any, mut identity) = (None, None, None, 0);
        for value in request.get_all(header::ACCEPT_ENCODING) {
            for part in value.to_str().unwrap_or_default().split(',') {
                let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
                let (name, weight) = (name.trim(), weight(parameters));
                if name.eq_ignore_ascii_case("zstd") {
                    zstd = Some(weight);
                } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                    gzip = Some(weight);
                } else if name.eq_ignore_ascii_case("identity") {
                    identity = weight;
                } else if name == "*" {
                    any = Some(weight);
                }
            }
        }
        let packed = [(gzip, Self::Gzip), (zstd, Self::Zstd)].map(|(given, encoding)| {
            // What is not named is what `*` says.
            (given.or(any).unwrap_or(0), encoding)
        });
        let packed = packed.into_iter().filter(|(_, encoding)| offered.contains(encoding));
        let best = packed.filter(|(weight, _)| *weight > 0 && *weight >= identity).max();
        best.map_or(Self::Identity, |(_, encoding)| encoding)
    }
}

/// `q=` in thousandths; 1000 where there is none.
pub fn weight(parameters: &str) -> u16 {
    let Some(text) = parameters.trim().strip_prefix("q=").or(parameters.trim().strip_prefix("Q="))
    else {
        return 1000;
    };
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let thousandths = format!("{fraction:0<3}").get(..3).and_then(|it| it.parse::<u16>().ok());
    match whole {
        "0" => thousandths.unwrap_or(0),
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Gzip, Identity, Zstd};
    use super::*;

    #[test]
    fn an_encoding_is_chosen_by_weight() {
        for (accept, expected) in [
            ("gzip, deflate, br", Gzip),
            ("gzip, deflate, br, zstd", Zstd),
            ("zstd;q=0.4, gzip;q=0.5", Gzip),
            ("zstd;q=0.5, gzip;q=0.5", Zstd),
            ("zstd;q=0, gzip", Gzip),
            ("GZIP;q=0.5", Gzip),
            ("ZStd", Zstd),
            ("gzip;q=0", Identity),
            ("gzip;q=0.000", Identity),
            ("identity, gzip;q=0.5", Identity),
            ("identity, zstd;q=0.5", Identity),
            ("identity;q=0.5, gzip", Gzip),
            ("*", Zstd),
            ("*;q=0", Identity),
            ("*, zstd;q=0", Gzip),
            ("*, gzip;q=0, zstd;q=0", Identity),
            ("gzip, *;q=0.5", Gzip),
            ("br", Identity),
        ] {
            let value = HeaderValue::from_static(accept);
            let request = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(Encoding::chosen(&request), expected, "{accept}");
        }
        assert_eq!(Encoding::chosen(&HeaderMap::new()), Identity);
    }

    #[test]
    fn what_is_not_offered_is_not_chosen() {
        let value = HeaderValue::from_static("zstd, gzip;q=0.1");
        let request = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
        assert_eq!(Encoding::chosen_of(&request, &[Gzip]), Gzip);
        assert_eq!(Encoding::chosen_of(&request, &[]), Identity);
    }
}
