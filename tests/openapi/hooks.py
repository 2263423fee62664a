"""What Schemathesis has to be told beyond the document. Loaded through SCHEMATHESIS_HOOKS."""

import json

import schemathesis
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ensure_resource_availability


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Takes the schemas of event streams away.

    In OpenAPI 3.1 the schema of a response is that of its whole body, and that of an event stream
    is a string. Schemathesis takes it for the schema of one event, parsed, as OpenAPI 3.2 has it
    under another name (`itemSchema`).
    """
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                response.get("content", {}).get("text/event-stream", {}).pop("schema", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps to what the document can tell people only.

    `stream` must not be true with `?sync=true`. Of the cursors of a list, only those that a list
    has given lead anywhere. And a message has a bound for all its text together, with what is
    quoted in it and its tags' data.
    """
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    query = case.query or {}
    if query.get("sync") in (True, "true") and isinstance(case.body, dict):
        case.body = {name: value for name, value in case.body.items() if name != "stream"}
    if isinstance(case.body, dict) and case.body.get("type") in ("threads.list", "items.list"):
        params = case.body.get("params")
        if isinstance(params, dict):
            params = {name: value for name, value in params.items() if name != "after"}
            case.body = {**case.body, "params": params}
    if isinstance(case.body, dict) and len(json.dumps(case.body)) > 9000:
        case.body = cut(case.body)
    is_list = "/conversations" in case.path or case.path.endswith(("/sessions", "/items"))
    if is_list or "OpenAI" in (case.operation.tags or []):
        case.query = {name: query[name] for name in query if name not in ("after", "before")}


@schemathesis.hook
def filter_case(context, case):
    """Leaves out requests whose only fault is a query parameter that the document doesn't name.

    Such a parameter is ignored. Schemathesis lets that pass by itself, but not where it has left
    out a list's cursor beside it.
    """
    return "x-schemathesis-unknown-property" not in (case.query or {})


def cut(value):
    """The same with short texts."""
    if isinstance(value, dict):
        return {name: cut(member) for name, member in value.items()}
    if isinstance(value, list):
        return [cut(member) for member in value]
    return value[:500] if isinstance(value, str) else value


@schemathesis.check
def what_was_made_is_there(ctx, response, case):
    """In place of `ensure_resource_availability`, which is excluded.

    Bodies name attachments and items, too. Schemathesis makes the names up, and that check takes
    their 404 for that of the session it has just made.
    """
    if any(code in response.text for code in ("ATTACHMENT_NOT_FOUND", "ITEM_NOT_FOUND")):
        return None
    return ensure_resource_availability(ctx, response, case)
