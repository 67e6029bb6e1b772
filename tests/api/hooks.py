"""What a schema cannot say about two values at once; the API says it with a 400 that names the field."""

import schemathesis

PARAMS = {"rpc_method", "path", "expect_status", "expect_field", "expect_value"}
KINDS = {
    "json-rpc": {"rpc_method", "path", "expect_field", "expect_value"},
    "http": {"path", "expect_status", "expect_field", "expect_value"},
}


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body if isinstance(case.body, dict) else {}
    # "cannot be given together with pid", in one body or with what an earlier one left.
    if body.get("pid") is not None and body.get("pid_file") is not None:
        del body["pid_file"]
    if case.operation.path == "/nodes/{id}" and case.method == "PATCH":
        if "pid" in body:
            body["pid_file"] = None
        elif body.get("pid_file") is not None:
            body["pid"] = None
    # "is for kind json-rpc and not for http"; a node that names no kind takes none of them.
    kind = body.get("kind") if isinstance(body.get("kind"), str) else None
    fits = KINDS.get(kind, set())
    for name in PARAMS - fits:
        if case.operation.path in ("/nodes", "/nodes/{id}") and body.get(name) is not None:
            del body[name]
    if kind == "json-rpc" and body.get("rpc_method") is None and case.operation.path in ("/nodes", "/nodes/{id}"):
        body["rpc_method"] = "get_info"
    if body.get("expect_value") is not None and body.get("expect_field") is None:
        del body["expect_value"]
    # "is another one in the query".
    if case.query and body.get("mb_project_uuid") is not None:
        case.query.pop("mb_project_uuid", None)
