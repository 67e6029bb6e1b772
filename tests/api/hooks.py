"""What a schema cannot say about two values at once; the API says it with a 400 that names the field."""

import schemathesis


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
    # "is another one in the query".
    if case.query and body.get("mb_project_uuid") is not None:
        case.query.pop("mb_project_uuid", None)
