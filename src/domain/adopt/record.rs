//! What their row says of a migration.

use std::fmt::{self, Write as _};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::domain::migration::Status;
use crate::domain::time::Timestamp;

/// Their row of one migration, as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The project's column, to find the row again.
    pub project_id: String,
    /// The uuid's column, to find the row again.
    pub uuid: String,
    /// The column that has the status in it, byte for byte: what must still stand there when we write.
    pub text: Option<String>,
    /// What it says.
    pub said: Said,
    /// The text of the error.
    pub error: Option<String>,
    /// Who wrote it says that a monitor did.
    pub by_monitor: bool,
    /// When the row was made.
    pub created_at: Option<Timestamp>,
    /// When it was written last.
    pub updated_at: Option<Timestamp>,
}

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    /// A status.
    Status(Status),
    /// Nothing that can be understood.
    Fault(Fault),
}

/// Why their row cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// NULL, or no text.
    Empty,
    /// No JSON: most often it was cut off by the width of its column.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// There is no status in it.
    NoStatus,
    /// The status is none of the five words.
    UnknownStatus,
    /// Several rows have this key.
    SeveralRows,
}

impl Fault {
    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NoStatus => "no_status",
            Self::UnknownStatus => "unknown_status",
            Self::SeveralRows => "several_rows",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Record {
    /// A row whose status stands in a JSON object under these keys.
    #[must_use]
    pub fn of_json(text: Option<String>, status_key: &str, error_key: &str) -> Self {
        let mut record = Self::blank(text);
        let given = record.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let Some(given) = given else { return record };
        let fields = match serde_json::from_str::<Value>(given) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => {
                record.said = Said::Fault(Fault::NotAnObject);
                return record;
            }
            Err(_) => {
                record.said = Said::Fault(Fault::NotJson);
                return record;
            }
        };
        record.said = match fields.get(status_key) {
            Some(Value::String(word)) => said(word),
            _ => Said::Fault(Fault::NoStatus),
        };
        record.error = fields.get(error_key).and_then(Value::as_str).map(str::to_owned);
        record.by_monitor = fields
            .get("monitor_updated")
            .is_some_and(|it| !matches!(it, Value::Null | Value::Bool(false)));
        record
    }

    /// A row whose status and error are columns.
    #[must_use]
    pub fn of_columns(status: Option<String>, error: Option<String>) -> Self {
        let mut record = Self::blank(status);
        if let Some(word) = record.text.as_deref().filter(|word| !word.is_empty()) {
            record.said = said(word);
        }
        record.error = error.filter(|text| !text.is_empty());
        record
    }

    fn blank(text: Option<String>) -> Self {
        Self {
            project_id: String::new(),
            uuid: String::new(),
            text,
            said: Said::Fault(Fault::Empty),
            error: None,
            by_monitor: false,
            created_at: None,
            updated_at: None,
        }
    }

    /// The status, if it can be understood.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        match self.said {
            Said::Status(status) => Some(status),
            Said::Fault(_) => None,
        }
    }

    /// The status, if nothing follows in that run.
    #[must_use]
    pub fn final_status(&self) -> Option<Status> {
        self.status().filter(|status| status.is_final())
    }

    /// May our `error` stand there instead? Only instead of `in_progress`.
    #[must_use]
    pub fn is_in_progress(&self) -> bool {
        self.said == Said::Status(Status::InProgress)
    }

    /// What it says, in one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self.said {
            Said::Status(status) => status.as_str(),
            Said::Fault(fault) => fault.as_str(),
        }
    }
}

impl Record {
    /// The word with a digest of the row, to tell the same word from the same word said anew: 32 characters at most.
    #[must_use]
    pub fn mark(&self) -> String {
        let mut digest = Sha256::new();
        for text in [&self.text, &self.error] {
            digest.update(text.as_deref().unwrap_or_default());
            digest.update([0]);
        }
        digest.update(self.updated_at.map_or(0, |at| at.0).to_le_bytes());
        let digest = digest.finalize();
        let mut mark = format!("{}:", self.word());
        for byte in &digest[..8] {
            // Writing to a String cannot fail.
            let _ = write!(mark, "{byte:02x}");
        }
        mark
    }
}

fn said(word: &str) -> Said {
    Status::parse(word).map_or(Said::Fault(Fault::UnknownStatus), Said::Status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_says() {
        let said = |text: &str| Record::of_json(Some(text.to_owned()), "status", "error").said;
        let fault = Said::Fault;
        assert_eq!(said(r#"{"status":"in_progress"}"#), Said::Status(Status::InProgress));
        assert_eq!(said(r#" {"status":"error","error":"x"} "#), Said::Status(Status::Error));
        assert_eq!(said(r#"{"status":"done"}"#), fault(Fault::UnknownStatus));
        assert_eq!(said(r#"{"status":1}"#), fault(Fault::NoStatus));
        assert_eq!(said("{}"), fault(Fault::NoStatus));
        assert_eq!(said("[]"), fault(Fault::NotAnObject));
        assert_eq!(said("\"in_progress\""), fault(Fault::NotAnObject));
        assert_eq!(said("null"), fault(Fault::NotAnObject));
        assert_eq!(said(r#"{"status":"error","error":"cut of"#), fault(Fault::NotJson));
        assert_eq!(said("  "), fault(Fault::Empty));
        assert_eq!(Record::of_json(None, "status", "error").said, fault(Fault::Empty));
    }

    #[test]
    fn who_wrote_it() {
        let by = |text: &str| Record::of_json(Some(text.to_owned()), "status", "error").by_monitor;
        assert!(by(r#"{"status":"error","monitor_updated":true}"#));
        assert!(by(r#"{"status":"error","monitor_updated":"2025-01-15 10:30:45"}"#));
        assert!(!by(r#"{"status":"error","monitor_updated":false}"#));
        assert!(!by(r#"{"status":"error"}"#));
    }

    #[test]
    fn what_columns_say() {
        let of = |word: &str| Record::of_columns(Some(word.to_owned()), None).said;
        assert_eq!(of("success"), Said::Status(Status::Success));
        assert_eq!(of(""), Said::Fault(Fault::Empty));
        assert_eq!(of("IN_PROGRESS"), Said::Fault(Fault::UnknownStatus));
    }
}
