"""What Schemathesis has to be told beyond the document. Loaded through SCHEMATHESIS_HOOKS."""

import schemathesis


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
def map_case(context, case):
    """Never asks for a stream where there is none.

    That `stream` must not be true with `?sync=true` is a matter of two places, which the document
    can only tell people.
    """
    if (case.query or {}).get("sync") in (True, "true") and isinstance(case.body, dict):
        case.body = {name: value for name, value in case.body.items() if name != "stream"}
    return case
