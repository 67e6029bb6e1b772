//! The HTTP contract: shapes, errors, health routes, caching, tokens, the end of the service.

mod access;
mod caching;
mod cors;
mod errors;
mod fleet;
mod health;
mod hostile;
mod openapi;
mod shapes;
mod shutdown;
mod tokens;

use std::time::Duration;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_mins(1);
