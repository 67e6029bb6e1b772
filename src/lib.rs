//! procwarden keeps what a database says about processes in agreement with the processes themselves, and tells the
//! truth over HTTP.
//!
//! # The map
//!
//! [`cli`] dispatches; [`app`] builds and runs the service; [`monitor`] is the same without a server. [`reconciler`]
//! holds the two loops: it asks [`checker`], [`locks`] and [`process`] what is so, lets [`domain`] judge, writes through
//! [`store`], and publishes a [`snapshot`], from which [`http`] answers. [`registry`] takes the operator's edits,
//! [`config`] the settings. `ARCHITECTURE.md` has the whole map, the rules and a walk along each flow.
//!
//! # The rules
//!
//! 1. [`domain`] is pure: no I/O, no clock, no floats; the time is an argument.
//! 2. sqlx only in [`store`]; axum only in [`http`]; HTTP clients only in [`checker`] and `cli::health`.
//! 3. The environment is read in [`config`].
//! 4. No mutable statics, no unwrap outside tests and `main`, no `unsafe` but for one ioctl.
//! 5. [`http`] never judges and never writes a verdict; a GET observes.
//! 6. One writer of verdicts: the reconcilers.
//! 7. A flip and its event are one transaction.
//! 8. Every outward await has a limit, every task is tracked.
//! 9. A failure is logged once, where it is handled; secrets never.
//! 10. No transaction is held across a probe.
//!
//! # As a library
//!
//! Check a node by a method and keep nothing; check all and record what was seen:
//!
//! ```
//! use procwarden::config::Settings;
//! use procwarden::domain::Method;
//! use procwarden::domain::node::Password;
//! use procwarden::monitor::Monitor;
//! use procwarden::registry::NodePatch;
//! use procwarden::store::Open;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("procwarden.db");
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let mut settings = Settings::default();
//! settings.database.url = Password::new(format!("sqlite://{}", path.display()));
//! let monitor = Monitor::open(&settings, Open::Create).await?;
//!
//! // A port that was free a moment ago: nothing listens there.
//! let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! let name = Some("main-node".to_owned());
//! let patch = NodePatch { name, port: Some(port), ..NodePatch::default() };
//! let stored = monitor.registry().create(patch).await?;
//!
//! // Looks, and keeps nothing.
//! let outcome = monitor.check(&stored.node, Method::Api).await;
//! assert!(!outcome.status);
//! assert_eq!(outcome.details["reason"], "port_closed");
//! assert_eq!(monitor.registry().get("main-node").await?.verdict.checked_at, None);
//!
//! // Looks, and records the verdict.
//! let (_, verdict) = monitor.check_and_save(&stored, Method::Port).await?;
//! assert_eq!(verdict.state.as_str(), "down");
//!
//! // Looks at every available node.
//! let summary = monitor.check_all(Method::Full, true).await?;
//! assert_eq!((summary.total, summary.working, summary.failed), (1, 0, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok(())
//! # }
//! ```

pub mod adopt;
pub mod app;
#[cfg(feature = "bench")]
pub mod bench;
pub mod causes;
pub mod checker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod discover;
pub mod domain;
pub mod events;
pub mod failpoint;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod gauges;
pub mod history;
pub mod http;
pub mod instance;
pub mod locks;
pub mod mask;
pub mod metrics;
pub mod monitor;
pub mod notify;
pub mod pid_file;
pub mod process;
pub mod reactor;
pub mod reconciler;
pub mod registry;
pub mod secrets;
pub mod service_manager;
pub mod shutdown;
pub mod snapshot;
pub mod store;
pub mod telemetry;
