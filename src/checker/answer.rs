//! What the body of a 200 says: ours, an error, or somebody else's. Pure.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::domain::observation::ApiSeen;
use crate::domain::service::Expected;

/// What a JSON-RPC server says of a method that it does not know (JSON-RPC 2.0, section 5.1).
const NO_METHOD: i64 = -32601;

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
    let result = match result_of(body, id) {
        Ok(result) => result,
        Err(seen) => return seen,
    };
    if result.get("status").is_some() {
        return ApiSeen::WrongService("the answer is a daemon's, not a wallet's".to_owned());
    }
    match result.get("version").and_then(Value::as_i64) {
        Some(version) => ApiSeen::Version(version),
        None => ApiSeen::WrongService("the answer has no version number".to_owned()),
    }
}

/// Reads a daemon's answer to `get_info`.
#[must_use]
pub fn daemon(body: &[u8], id: &str) -> ApiSeen {
    let info = match result_of(body, id) {
        Ok(info) => info,
        Err(ApiSeen::RpcError(NO_METHOD, _)) => {
            return ApiSeen::WrongService("the server does not know get_info".to_owned());
        }
        Err(seen) => return seen,
    };
    let number = |name| info.get(name).and_then(Value::as_u64);
    let (Some(status), Some(height)) = (info.get("status"), number("height")) else {
        return ApiSeen::WrongService("the answer has no status and no height".to_owned());
    };
    if status != "OK" {
        return ApiSeen::Unfit(format!("the daemon's status is {}", told(status)));
    }
    // 0: it knows of none, because it is alone or because it has them all.
    let target_height = number("target_height").unwrap_or(0);
    let is_behind = target_height > height;
    if is_behind || info.get("synchronized") == Some(&Value::Bool(false)) {
        let of = if is_behind { format!(" of {target_height}") } else { String::new() };
        return ApiSeen::Unfit(format!("not synchronized: height {height}{of}"));
    }
    ApiSeen::Synchronized { height, target_height }
}

/// Reads any server's answer to the method that it was asked.
#[must_use]
pub fn result(body: &[u8], id: &str, expected: Option<&Expected>) -> ApiSeen {
    match result_of(body, id) {
        Ok(result) => held(&result, expected).err().unwrap_or(ApiSeen::Result),
        Err(seen) => seen,
    }
}

/// Reads the body of an answer whose status was right.
#[must_use]
pub fn page(status: u16, body: &[u8], expected: Option<&Expected>) -> ApiSeen {
    let Some(expected) = expected else { return ApiSeen::Status(status) };
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => held(&value, Some(expected)).err().unwrap_or(ApiSeen::Status(status)),
        Err(_) => no_json(body),
    }
}

/// Holds a value to what is expected in it.
fn held(value: &Value, expected: Option<&Expected>) -> Result<(), ApiSeen> {
    let Some(Expected { field, value: wanted }) = expected else { return Ok(()) };
    let Some(found) = value.pointer(field) else {
        return Err(ApiSeen::WrongService(format!("the answer has no {field}")));
    };
    let is_same = |wanted: &str| match found {
        Value::String(text) => text == wanted,
        Value::Array(_) | Value::Object(_) => false,
        scalar => serde_json::to_string(scalar).is_ok_and(|text| text == wanted),
    };
    match wanted {
        Some(wanted) if !is_same(wanted) => {
            Err(ApiSeen::Unfit(format!("{field} is {}, not {wanted}", told(found))))
        }
        _ => Ok(()),
    }
}

/// The result of a JSON-RPC answer to the request with this id.
fn result_of(body: &[u8], id: &str) -> Result<Value, ApiSeen> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Err(no_json(body)) };
    let Value::Object(mut answer) = value else {
        return Err(no_json_rpc("the answer is not a JSON object"));
    };
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(match error.get("code").and_then(Value::as_i64) {
            Some(code) => ApiSeen::RpcError(code, text_of(error)),
            None => no_json_rpc("the answer is an error without a code"),
        });
    }
    let Some(result) = answer.remove("result") else {
        return Err(no_json_rpc("the answer has no result"));
    };
    if answer.get("id").and_then(Value::as_str) != Some(id) {
        return Err(no_json_rpc("the answer is to another request"));
    }
    Ok(result)
}

fn no_json(body: &[u8]) -> ApiSeen {
    no_json_rpc(if body.is_empty() { "the answer is empty" } else { "the answer is not JSON" })
}

fn no_json_rpc(text: &str) -> ApiSeen {
    ApiSeen::NotJsonRpc(text.to_owned())
}

/// The message of an error.
fn text_of(error: &Value) -> String {
    line(error.get("message").and_then(Value::as_str).unwrap_or("no message"))
}

/// A value as it may be told to people.
fn told(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => line(&scalar.to_string()),
    }
}

/// One printable line of limited length, since a stranger wrote it.
fn line(text: &str) -> String {
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
    fn daemons_as_a_table() {
        let synchronized = |height, target_height| ApiSeen::Synchronized { height, target_height };
        let unfit = |text: &str| ApiSeen::Unfit(text.to_owned());
        let wrong = |text: &str| ApiSeen::WrongService(text.to_owned());
        let table = [
            // As a lone daemon of a chain of its own says it, and as with --restricted-rpc.
            (
                r#""status":"OK","height":1,"target_height":0,"synchronized":true"#,
                synchronized(1, 0),
            ),
            (
                r#""status":"OK","height":501,"target_height":501,"free_space":18446744073709551615,"version":"""#,
                synchronized(501, 501),
            ),
            (r#""status":"OK","height":502,"target_height":501"#, synchronized(502, 501)),
            (
                r#""status":"OK","height":100,"target_height":500,"synchronized":false"#,
                unfit("not synchronized: height 100 of 500"),
            ),
            (
                r#""status":"OK","height":100,"target_height":500,"synchronized":true"#,
                unfit("not synchronized: height 100 of 500"),
            ),
            (
                r#""status":"OK","height":100,"target_height":0,"synchronized":false"#,
                unfit("not synchronized: height 100"),
            ),
            (r#""status":"BUSY\n","height":1"#, unfit("the daemon's status is \"BUSY\\n\"")),
            (r#""version":65561,"release":false"#, wrong("the answer has no status and no height")),
            (r#""status":"OK","height":-1"#, wrong("the answer has no status and no height")),
        ];
        for (result, expected) in table {
            let body = format!(r#"{{"id":"7","jsonrpc":"2.0","result":{{{result}}}}}"#);
            assert_eq!(daemon(body.as_bytes(), "7"), expected, "{result}");
        }
        // What a wallet says of it.
        let unknown = br#"{"id":"7","error":{"code":-32601,"message":"Method not found"}}"#;
        assert_eq!(daemon(unknown, "7"), wrong("the server does not know get_info"));
        let busy = br#"{"id":"7","error":{"code":-9,"message":"Core is busy."}}"#;
        assert_eq!(daemon(busy, "7"), ApiSeen::RpcError(-9, "Core is busy.".to_owned()));
        assert_eq!(kind(&daemon(b"{}", "7")), "not_json_rpc");
    }

    #[test]
    fn what_is_expected_as_a_table() {
        let body =
            r#"{"id":"7","result":{"s":"OK","n":501,"t":true,"z":null,"f":1.5,"l":[{"a/b":1}]}}"#;
        let ask = |field: &str, value: Option<&str>| {
            let expected = Expected { field: field.into(), value: value.map(str::to_owned) };
            result(body.as_bytes(), "7", Some(&expected))
        };
        for (field, value) in [
            ("/s", None),
            ("/s", Some("OK")),
            ("/n", Some("501")),
            ("/t", Some("true")),
            ("/z", Some("null")),
            ("/z", None),
            ("/f", Some("1.5")),
            ("/l", None),
            ("/l/0/a~1b", Some("1")),
        ] {
            assert_eq!(ask(field, value), ApiSeen::Result, "{field} {value:?}");
        }
        for (field, value, text) in [
            ("/s", "ok", "/s is \"OK\", not ok"),
            ("/s", "", "/s is \"OK\", not "),
            ("/n", "501.0", "/n is 501, not 501.0"),
            ("/l", "[]", "/l is a list, not []"),
            ("/l/0", "x", "/l/0 is an object, not x"),
        ] {
            assert_eq!(ask(field, Some(value)), ApiSeen::Unfit(text.to_owned()));
        }
        for field in ["/x", "/l/1", "/s/0", "/"] {
            assert_eq!(kind(&ask(field, None)), "wrong_service", "{field}");
        }
        assert_eq!(result(br#"{"id":"7","result":null}"#, "7", None), ApiSeen::Result);
        assert_eq!(kind(&result(br#"{"id":"8","result":1}"#, "7", None)), "not_json_rpc");
        assert_eq!(kind(&result(br#"{"id":"7","error":{"code":1}}"#, "7", None)), "rpc_error");
    }

    #[test]
    fn a_page_is_read_only_if_something_is_expected_in_it() {
        let expected = Expected { field: "/status".into(), value: Some("ok".into()) };
        let told = |body: &str| page(200, body.as_bytes(), Some(&expected));
        assert_eq!(page(204, b"<html>", None), ApiSeen::Status(204));
        assert_eq!(told(r#"{"status":"ok"}"#), ApiSeen::Status(200));
        assert_eq!(told(r#"{"status":"no"}"#), ApiSeen::Unfit("/status is \"no\", not ok".into()));
        assert_eq!(kind(&told("[]")), "wrong_service");
        assert_eq!(told("<html>"), ApiSeen::NotJsonRpc("the answer is not JSON".into()));
        assert_eq!(told(""), ApiSeen::NotJsonRpc("the answer is empty".into()));
    }

    #[test]
    fn an_error_is_passed_on_as_one_short_line() {
        let body = format!(r#"{{"error":{{"code":-1,"message":"a\nb{}"}}}}"#, "x".repeat(5000));
        let ApiSeen::RpcError(-1, text) = read(body.as_bytes(), "7") else { panic!() };
        assert!(text.starts_with("a bx"));
        assert_eq!(text.chars().count(), TEXT_LIMIT);
    }
}
