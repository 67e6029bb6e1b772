//! What is wrong with a configuration: a list, never a single complaint.

use std::fmt;

/// One thing that is wrong; it never holds a secret value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key, `node[NAME].port`, or the name of the file.
    pub key: String,
    /// Where the value came from, such as `file /etc/procwarden/procwarden.toml`.
    pub source: String,
    /// What is wrong, with the allowed values where there is a list of them.
    pub problem: String,
}

impl Fault {
    pub(super) fn new(
        key: impl Into<String>,
        source: &impl fmt::Display,
        problem: impl Into<String>,
    ) -> Self {
        Self { key: key.into(), source: source.to_string(), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (from {})", self.key, self.problem, self.source)
    }
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_a_line_with_its_key_and_source() {
        let faults = Faults(vec![
            Fault::new("server.listen", &"file /a.toml", "is no address"),
            Fault::new("log.format", &"environment", "is none of text, json"),
        ]);
        assert_eq!(
            faults.to_string(),
            "server.listen: is no address (from file /a.toml)\n\
             log.format: is none of text, json (from environment)"
        );
    }
}
