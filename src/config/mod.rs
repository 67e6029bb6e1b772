//! Settings: what they are, and how they are read.
//!
//! `defaults < .env of the systems that we replace < TOML file < nodes.d/*.toml < .env < environment < flags`; the last wins. Each key is read
//! by itself, so that all faults are told at once. [`known_keys`] is the one table from which reading,
//! the detection of unknown keys and the example configuration follow.

mod adopt;
mod adopt_rules;
mod adopt_values;
mod alerts;
mod container;
mod database;
mod fault;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod grants;
mod history;
mod key;
mod keys;
mod node_entry;
mod overrides;
mod parse;
mod php_env;
mod raw;
mod read;
mod secrets;
mod server;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod their_database;
mod their_env;
mod token;

pub use adopt::*;
pub use alerts::{Alerts, SmtpTls};
pub use database::{DatabaseTls, Engine};
pub use fault::{Fault, Faults};
pub use grants::grants;
pub use history::History;
pub use key::{KeyInfo, Kind};
pub use keys::known_keys;
pub use overrides::{Overrides, SERVICE_MANAGER};
pub use read::{Loaded, load, reread_nodes};
pub use secrets::{Keys, variable};
pub use server::Server;
pub use settings::*;
pub use token::{LONGEST as LONGEST_TOKEN, Token};
