//! Many rows as one argument: the JSON text that a statement unpacks.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, Formatter};

use super::{Engine, StoreError};

/// Rows of a batch: large enough that the round trip does not count, small enough for `max_allowed_packet` (16 MiB by
/// default).
pub(super) const BATCH: usize = 500;

/// A batch as the text that the engines unpack.
pub(super) fn json(batch: &(impl Serialize + ?Sized)) -> Result<String, StoreError> {
    serde_json::to_string(batch).map_err(corrupt)
}

/// The same for rows whose fields the statement takes apart; see [`dialect`](super::dialect). They are flat.
pub(super) fn rows(engine: Engine, batch: &[impl Serialize]) -> Result<String, StoreError> {
    if engine != Engine::MySql {
        return json(batch);
    }
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, Fields::default());
    batch.serialize(&mut serializer).map_err(corrupt)?;
    String::from_utf8(text)
        .map_err(|error| StoreError::Corrupt { table: "a batch", problem: error.to_string() })
}

#[allow(clippy::needless_pass_by_value)] // The form that `Result::map_err` asks for.
fn corrupt(error: serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "a batch", problem: error.to_string() }
}

/// Writes objects as arrays of their values.
#[derive(Debug, Default)]
struct Fields {
    in_name: bool,
}

impl Formatter for Fields {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin_array(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end_array(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.in_name = true;
        self.begin_array_value(writer, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.in_name = false;
        Ok(())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.in_name { Ok(()) } else { writer.write_all(b"\"") }
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin_string(writer)
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if self.in_name { Ok(()) } else { writer.write_all(fragment.as_bytes()) }
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        // The names are those of columns: nothing in them is escaped.
        if self.in_name {
            return Ok(());
        }
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[derive(Serialize)]
    struct Inner {
        c: Option<i64>,
        d: String,
    }

    #[derive(Serialize)]
    struct Row<'a> {
        a: i64,
        b: Option<&'a str>,
        #[serde(flatten)]
        inner: Inner,
        e: &'a str,
    }

    proptest! {
        #[test]
        fn mysql_gets_the_values_and_the_others_the_names_as_well(
            a: i64, b in proptest::option::of(".*"), c: Option<i64>, d in ".*", e in "[\\x00-\\x7f]*", count in 0_usize..3
        ) {
            let row = || Row { a, b: b.as_deref(), inner: Inner { c, d: d.clone() }, e: &e };
            let batch: Vec<Row<'_>> = std::iter::repeat_with(row).take(count).collect();
            let named: Vec<serde_json::Map<String, Value>> =
                serde_json::from_str(&rows(Engine::Postgres, &batch).unwrap()).unwrap();
            let values: Vec<Vec<Value>> =
                serde_json::from_str(&rows(Engine::MySql, &batch).unwrap()).unwrap();
            let expected: Vec<Vec<Value>> =
                named.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect()).collect();
            prop_assert_eq!(values, expected);
        }
    }
}
