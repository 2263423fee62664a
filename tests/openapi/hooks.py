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
def map_body(context, body):
    """Takes the attachments off runs.

    What they name doesn't exist, so the answer is 404; with a session that was just made,
    Schemathesis takes that for the session's. `fixtures/create_run` has attachments.
    """
    if context.operation.label.endswith("/runs") and isinstance(body, dict):
        message = body.get("message")
        if isinstance(message, dict) and isinstance(message.get("attachments"), list):
            return body | {"message": message | {"attachments": []}}
    return body
