//! Compares an answer with an example of `tests/fixtures/http`: keys and JSON types, not values.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// An example by its file name without `.json`.
pub fn example(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/http/{name}.json"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Every key of the example is in the answer with a value of the same type; more keys are welcome.
///
/// `nullable`: pointers (`/data/*/reason`) of values that the contract lets be null, or not null where the example
/// shows null; of lists that may be empty.
pub fn assert_like(answer: &Value, example: &Value, nullable: &[&str]) {
    let mut faults = Vec::new();
    compare(answer, example, "", nullable, &mut faults);
    assert!(faults.is_empty(), "{}\nin the answer {answer:#}", faults.join("\n"));
}

fn compare(answer: &Value, example: &Value, at: &str, nullable: &[&str], faults: &mut Vec<String>) {
    match (answer, example) {
        (Value::Object(answer), Value::Object(example)) => {
            for (key, expected) in example {
                let at = format!("{at}/{key}");
                match answer.get(key) {
                    Some(value) => compare(value, expected, &at, nullable, faults),
                    None => faults.push(format!("{at} is missing")),
                }
            }
        }
        (Value::Array(answer), Value::Array(example)) => {
            let Some(first) = example.first() else { return };
            if answer.is_empty() && !nullable.contains(&at) {
                faults.push(format!("{at} is empty, nothing to compare"));
            }
            for value in answer {
                compare(value, first, &format!("{at}/*"), nullable, faults);
            }
        }
        _ if kind(answer) == kind(example) => {}
        _ if (answer.is_null() || example.is_null()) && nullable.contains(&at) => {}
        _ => faults.push(format!("{at} is {}, the example has {}", kind(answer), kind(example))),
    }
}

/// Integers stay integers.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[test]
fn a_difference_of_shape_is_found() {
    use serde_json::json;

    let example = json!({"a": 1, "list": [{"b": null, "c": 1.5}]});
    let faults = |answer: Value, nullable: &[&str]| {
        let mut faults = Vec::new();
        compare(&answer, &example, "", nullable, &mut faults);
        faults.len()
    };
    let same = json!({"a": 2, "list": [{"b": null, "c": 0.5, "more": 1}], "more": 1});
    assert_eq!(faults(same, &[]), 0);
    assert_eq!(faults(json!({"a": 2.0, "list": [{"b": "x", "c": 1}]}), &[]), 3);
    assert_eq!(faults(json!({"a": 2, "list": [{"b": "x", "c": 1.5}]}), &["/list/*/b"]), 0);
    assert_eq!(faults(json!({"list": []}), &[]), 2, "missing, and nothing to compare");
}
