//! What the body of a 200 says: ours, an error, or somebody else's. Pure.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::domain::observation::ApiSeen;

/// Longest text of a server's error that is passed on, in characters.
const TEXT_LIMIT: usize = 200;

/// The answer that nearly every check gets, read without building what it holds. Anything else in it is [`judge`]'s.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Usual<'a> {
    id: &'a str,
    #[serde(rename = "jsonrpc")]
    _jsonrpc: IgnoredAny,
    result: UsualResult,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsualResult {
    version: i64,
    #[serde(rename = "release")]
    _release: IgnoredAny,
}

/// Reads the answer to our `get_version` that went out with this id.
///
/// An error counts whatever its id: the real server answers what it cannot parse with id 0.
#[must_use]
pub fn read(body: &[u8], id: &str) -> ApiSeen {
    match serde_json::from_slice::<Usual<'_>>(body) {
        Ok(usual) if usual.id == id => ApiSeen::Version(usual.result.version),
        _ => judge(body, id),
    }
}

fn judge(body: &[u8], id: &str) -> ApiSeen {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return no_json_rpc(if body.is_empty() {
            "the answer is empty"
        } else {
            "the answer is not JSON"
        });
    };
    let Value::Object(answer) = value else {
        return no_json_rpc("the answer is not a JSON object");
    };
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return match error.get("code").and_then(Value::as_i64) {
            Some(code) => ApiSeen::RpcError(code, text_of(error)),
            None => no_json_rpc("the answer is an error without a code"),
        };
    }
    let Some(result) = answer.get("result") else {
        return no_json_rpc("the answer has no result");
    };
    if answer.get("id").and_then(Value::as_str) != Some(id) {
        return no_json_rpc("the answer is to another request");
    }
    if result.get("status").is_some() {
        return ApiSeen::WrongService("the answer is a daemon's, not a wallet's".to_owned());
    }
    match result.get("version").and_then(Value::as_i64) {
        Some(version) => ApiSeen::Version(version),
        None => ApiSeen::WrongService("the answer has no version number".to_owned()),
    }
}

fn no_json_rpc(text: &str) -> ApiSeen {
    ApiSeen::NotJsonRpc(text.to_owned())
}

/// The message of an error: one printable line of limited length, since a stranger wrote it.
fn text_of(error: &Value) -> String {
    let text = error.get("message").and_then(Value::as_str).unwrap_or("no message");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `*` stands for any text.
    fn kind(seen: &ApiSeen) -> &'static str {
        match seen {
            ApiSeen::Version(_) => "version",
            ApiSeen::RpcError(..) => "rpc_error",
            ApiSeen::NotJsonRpc(_) => "not_json_rpc",
            ApiSeen::WrongService(_) => "wrong_service",
            _ => "else",
        }
    }

    #[test]
    fn answers_as_a_table() {
        let table = [
            (r#"{"id":"7","jsonrpc":"2.0","result":{"release":false,"version":65561}}"#, "version"),
            (
                r#"{"id":"8","jsonrpc":"2.0","result":{"release":false,"version":1}}"#,
                "not_json_rpc",
            ),
            (
                r#"{"id":"7","jsonrpc":"2.0","result":{"release":1,"version":1,"status":null}}"#,
                "wrong_service",
            ),
            (r#"{"id":"7","jsonrpc":"2.0","result":{"release":0,"version":-1}}"#, "version"),
            ("{\r\n \"id\": \"7\",\r\n \"result\": {\"version\": 1}, \"error\": null}", "version"),
            (
                r#"{"id":"7","result":{"version":196618,"status":"OK","untrusted":false}}"#,
                "wrong_service",
            ),
            (r#"{"id":"7","result":{"version":"65561"}}"#, "wrong_service"),
            (r#"{"id":"7","result":{"version":1.5}}"#, "wrong_service"),
            (r#"{"id":"7","result":{"version":18446744073709551615}}"#, "wrong_service"),
            (r#"{"id":"7","result":{}}"#, "wrong_service"),
            (r#"{"id":"7","result":[]}"#, "wrong_service"),
            (r#"{"id":"7","result":null}"#, "wrong_service"),
            (r#"{"id":"8","result":{"version":1}}"#, "not_json_rpc"),
            (r#"{"id":7,"result":{"version":1}}"#, "not_json_rpc"),
            (r#"{"result":{"version":1}}"#, "not_json_rpc"),
            (r#"{"id":"7"}"#, "not_json_rpc"),
            (r#"{"id":0,"error":{"code":-32700,"message":"Parse error"}}"#, "rpc_error"),
            (r#"{"id":"7","error":{"code":-13}}"#, "rpc_error"),
            (r#"{"id":"7","error":"busy"}"#, "not_json_rpc"),
            ("<html>It works!</html>", "not_json_rpc"),
            (r#"[{"id":"7","result":{"version":1}}]"#, "not_json_rpc"),
            (r#"{"id":"7","result":{"version":1}} trailing"#, "not_json_rpc"),
            (r#"{"id":"7","result":{"vers"#, "not_json_rpc"),
            ("", "not_json_rpc"),
        ];
        for (body, expected) in table {
            let seen = read(body.as_bytes(), "7");
            assert_eq!(kind(&seen), expected, "{body}: {seen:?}");
            assert_eq!(seen, judge(body.as_bytes(), "7"), "the short way says the same");
        }
        assert_eq!(
            read(&b"[".repeat(60_000), "7"),
            ApiSeen::NotJsonRpc("the answer is not JSON".into())
        );
        assert_eq!(read(&[0xff, 0xfe], "7"), ApiSeen::NotJsonRpc("the answer is not JSON".into()));
    }

    #[test]
    fn an_error_is_passed_on_as_one_short_line() {
        let body = format!(r#"{{"error":{{"code":-1,"message":"a\nb{}"}}}}"#, "x".repeat(5000));
        let ApiSeen::RpcError(-1, text) = read(body.as_bytes(), "7") else { panic!() };
        assert!(text.starts_with("a bx"));
        assert_eq!(text.chars().count(), TEXT_LIMIT);
    }
}
