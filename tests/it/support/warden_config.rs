//! The configuration of a `procwarden` under test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// The token of writes.
pub const TOKEN: &str = "test-token";

/// The key that seals passwords on a shared database.
pub const KEY: &str = "cHJvY3dhcmRlbi1zZWFscy13aXRoLXRoaXMtaW4tdGU=";

/// Keys of the configuration, with short times for tests.
///
/// Values are JSON, which TOML reads as well for strings, numbers, booleans and lists of them.
#[derive(Debug, Clone)]
pub struct WardenConfig {
    keys: BTreeMap<String, Value>,
    nodes: Vec<Value>,
    env: Vec<(String, String)>,
}

impl Default for WardenConfig {
    fn default() -> Self {
        let config = Self { keys: BTreeMap::new(), nodes: Vec::new(), env: Vec::new() };
        config
            .set("server.token", TOKEN)
            .set("server.drain", "100ms")
            .set("instance.name", "test-1")
            .set("nodes.interval", "300ms")
            .set("nodes.connect_timeout", "1s")
            .set("nodes.api_timeout", "3s")
            .set("migrations.interval", "200ms")
            .set("migrations.settle", "300ms")
            .set("migrations.grace", "2s")
            // Locks are backdated, and their jobs write nothing.
            .set("migrations.stall_after", "0s")
            .set("migrations.scope", "local")
            .set("log.level", "info,procwarden=debug")
    }
}

impl WardenConfig {
    /// Sets `section.key`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.insert(key.to_owned(), value.into());
        self
    }

    /// Leaves `section.key` out, so that the service's own default counts.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        self.keys.insert(key.to_owned(), Value::Null);
        self
    }

    /// Adds a `[[node]]` with these keys.
    #[must_use]
    pub fn node(mut self, keys: Value) -> Self {
        self.nodes.push(keys);
        self
    }

    /// Sets an environment variable of the service, such as `FAILPOINTS`.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != key);
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// What `section.key` is set to.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// Sets `section.key` where the test did not.
    #[must_use]
    pub fn or(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.entry(key.to_owned()).or_insert_with(|| value.into());
        self
    }

    /// The environment of the service.
    pub fn environment(&self) -> &[(String, String)] {
        &self.env
    }

    /// The whole file.
    pub fn to_toml(&self) -> String {
        let mut sections: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
        for (path, value) in self.keys.iter().filter(|(_, value)| !value.is_null()) {
            let (section, key) = path.split_once('.').expect("section.key");
            sections.entry(section).or_default().push((key, value));
        }
        let mut text = String::new();
        for (section, keys) in sections {
            writeln!(text, "[{section}]").unwrap();
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        for node in &self.nodes {
            text.push_str("[[node]]\n");
            for (key, value) in node.as_object().unwrap() {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text
    }
}
