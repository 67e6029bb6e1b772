//! Where a node came from, as its row says.

/// Where a node came from: only those of the configuration are pruned, those of a table that is not ours only mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `POST /nodes` or `procwarden nodes add`.
    User,
    /// `[[node]]`.
    Config,
    /// The table of `adopt.nodes`; its ids are kept.
    Adopted,
}

impl Origin {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Config => "config",
            Self::Adopted => "adopted",
        }
    }

    pub(super) fn parse(word: &str) -> Self {
        match word {
            "config" => Self::Config,
            "adopted" => Self::Adopted,
            _ => Self::User,
        }
    }
}
