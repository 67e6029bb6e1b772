//! How nodes are reached and looked at: the same for every one.

use super::Limits;
use super::names::Names;
use super::patience::Patience;
use super::tls::Configs;

/// What every check goes by.
#[derive(Debug)]
pub struct Ways {
    /// How long it may take.
    pub limits: Limits,
    /// The addresses of names.
    pub names: Names,
    /// For nodes that speak it.
    pub tls: Configs,
    /// For what is looked at on this host and may hang.
    pub patience: Patience,
}
