"""The page of /api/v1, made from its OpenAPI document, which is made from the routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask

from web import api
from web.api.openapi import description


def document() -> Mapping[str, Any]:
    """The OpenAPI document, of an application that has the routes and answers nobody."""
    app = Flask("web")
    api.install(app)
    with app.app_context():
        return description()


def interface_page() -> str:
    found = document()
    parts = [
        "# All of the HTTP API",
        found["info"]["description"],
        (
            "A running Henge gives this document to programs at `/api/v1/openapi.json`. "
            "With examples, and with the interfaces of Prometheus and Graphite: [HTTP API](../api.md)."
        ),
    ]
    by_tag: dict[str, list[str]] = {}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    for tag, operations in sorted(by_tag.items()):
        parts += [f"## {tag.replace('_', ' ').capitalize()}", *operations]
    parts += ["## What bodies and answers hold", *_schemas(found["components"]["schemas"])]
    return "\n\n".join(parts) + "\n"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    lines = [f"### `{method.upper()} {path}`", operation["summary"], ""]
    for parameter in operation["parameters"]:
        needed = ", must be given" if parameter["required"] else ""
        about = parameter["schema"].get("description", "")
        lines.append(
            f"- `{parameter['name']}` ({parameter['in']}{needed}): {_shape(parameter['schema'])} {about}".rstrip()
        )
    if body := operation.get("requestBody"):
        lines.append(f"- body: {', '.join(_content(body['content']))}")
    for status, answer in sorted(operation["responses"].items()):
        if status < "300":
            lines.append(f"- answers {status}: {', '.join(_content(answer['content']))}")
    refusals = [status for status in sorted(operation["responses"]) if status >= "300"]
    lines.append(f"- refuses with {', '.join(refusals)}")
    return "\n".join(lines)


def _content(content: Mapping[str, Any]) -> Iterator[str]:
    for media, one in content.items():
        yield f"`{media}` {_shape(one['schema'])}"


def _shape(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_shape(one) for one in schema[several])
    if "enum" in schema:
        return "one of " + ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"a list of {_shape(schema.get('items', {}))}"
    if kind == "object" and "items" in schema.get("properties", {}):
        return f"a page of {_shape(schema['properties']['items']['items'])}"
    limits = [f"{word} {schema[key]}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    return " ".join([" or ".join(kind) if isinstance(kind, list) else str(kind), *limits])


def _schemas(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        needed = set(schema.get("required", ()))
        rows = [
            f"- `{field}`{'' if field in needed else ' (may be left out)'}: {_shape(one)}"
            for field, one in schema.get("properties", {}).items()
        ]
        yield "\n".join([f"### {name}", *([schema["description"], ""] if "description" in schema else [""]), *rows])
