"""Checks frames of live streams against their schemas.

In: one JSON object, `document` and `frames`: a list of `{path, id, event, data}`. Out: the kinds of frames that were
seen, one `path kind` a line. Fails with the first frame that is none.
"""

import json
import sys

import jsonschema_rs


def kind(frame, kinds):
    """Which one it says it is: its event, else the member that no other frame has."""
    if frame["event"] is not None:
        return frame["event"]
    for name in ("reconcile", "sync", "final"):
        if frame["data"].get(name) is True and name in kinds:
            return name
    return "record"


def check(document, path, frame):
    """The kind of the frame. Raises where it is not what the document says of that kind."""
    operation = document["paths"][path]["get"]
    kinds = operation["responses"]["200"]["content"]["text/event-stream"]["x-frames"]
    name = kind(frame, kinds)
    described = kinds[name]
    validate(document, described["data"], frame["data"])
    assert (frame["id"] is not None) == described["id"], f"{name}: {frame}"
    assert frame["event"] == described.get("event"), f"{name}: {frame}"
    if frame["id"] is not None:
        validate(document, {"$ref": "#/components/schemas/Cursor"}, frame["id"])
    return name


def validate(document, schema, value):
    schema = {"$schema": document["jsonSchemaDialect"], "components": document["components"], **schema}
    jsonschema_rs.validator_for(schema).validate(value)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    seen = {f"{frame['path']} {check(given['document'], frame['path'], frame)}" for frame in given["frames"]}
    print("\n".join(sorted(seen)))
