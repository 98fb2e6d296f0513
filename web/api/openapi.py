"""The OpenAPI 3.1 description of /api/v1, made from the routes, the types that decode bodies and those of answers.

Every status that an operation may answer with stands there by its number, so that a status that does not is a fault;
only what a web server may say of any request (a header too long, a wrong host, an unknown method) is left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app

from appliance.version import version
from web.api.answers import Error
from web.api.body_schemas import body_schemas
from web.api.described import OPERATIONS, PAGE, Operation
from web.auth.guard import SAFE_METHODS
from web.errors import json_response

bp = Blueprint("api_openapi", __name__, url_prefix="/api/v1")

REF = "#/components/schemas/{name}"
JSON = "application/json"
ALWAYS = (401, 403, 503)  # No or a wrong token, too little of a role, a process that is being restarted.
DESCRIPTION = (
    "Lists are paged by limit and offset; `next` in the answer is the address of the next piece. Times are epoch "
    "milliseconds, UTC. Secrets go in and come out as ********."
)


@bp.get("/openapi.json")
def openapi() -> Response:
    """This description."""
    return json_response(description())


def description() -> dict[str, Any]:
    """The whole document; the summary of each operation is its view's first sentence."""
    answers, schemas = _answer_schemas()
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(current_app.url_map.iter_rules(), key=str):
        if rule.endpoint not in OPERATIONS:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            described = _operation(rule.endpoint, method, rule.arguments, answers)
            paths.setdefault(path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "Henge", "version": version(), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, **body_schemas()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _answer_schemas() -> tuple[dict[type, Any], dict[str, Any]]:
    """The schema of each type of answer, and the components that they refer to. What is answered is always whole."""
    types = list({operation.answer for operation in OPERATIONS.values()} | {Error})
    found, components = msgspec.json.schema_components(types, ref_template=REF)
    for name, schema in components.items():
        if "properties" in schema and name != "RefusalWords":
            schema["required"] = list(schema["properties"])
            schema["additionalProperties"] = False
    return dict(zip(types, found, strict=True)), components


def _operation(endpoint: str, method: str, arguments: set[str], answers: Mapping[type, Any]) -> dict[str, Any]:
    operation = OPERATIONS[endpoint]
    name = endpoint.partition(".")[2]
    text = inspect.getdoc(current_app.view_functions[endpoint]) or ""
    described: dict[str, Any] = {
        "operationId": name,
        "summary": text.partition("\n")[0] or name.replace("_", " ").capitalize(),
        "tags": [endpoint.partition(".")[0].removeprefix("api_")],
        "parameters": _parameters(operation, arguments),
        "responses": {
            str(status): {"description": HTTPStatus(status).phrase, "content": {JSON: {"schema": answers[Error]}}}
            for status in _refusals(operation, method, arguments)
        },
    }
    done = _answer(operation, answers)
    described["responses"]["201" if name.startswith("create_") else "200"] = done
    for status in operation.failed:
        described["responses"][str(status)] = done | {"description": HTTPStatus(status).phrase}
    if operation.binary:
        content: dict[str, Any] = {operation.binary: {"schema": {"type": "string", "format": "binary"}}}
        described["requestBody"] = {"required": True, "content": content}
    elif operation.body is not None:
        body = operation.body if isinstance(operation.body, str) else operation.body.__name__
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": {"$ref": REF.format(name=body)}}},
        }
    return described


def _parameters(operation: Operation, arguments: Iterable[str]) -> list[dict[str, Any]]:
    asked = {**operation.asked, **(PAGE if operation.is_list else {})}
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in sorted(arguments)
    ]
    for name, schema in asked.items():
        found.append({"name": name, "in": "query", "required": name in operation.needed, "schema": schema})
    return found


def _refusals(operation: Operation, method: str, arguments: Iterable[str]) -> list[int]:
    found = {*ALWAYS, *operation.refusals}
    if list(arguments):
        found.add(404)
    if operation.is_list:
        found.add(422)
    if method not in SAFE_METHODS:
        found.add(413)
    if operation.body is not None or operation.binary is not None:
        found.add(400)
    if operation.body is not None and operation.body != "Series":
        found.add(422)
    return sorted(found)


def _answer(operation: Operation, answers: Mapping[type, Any]) -> dict[str, Any]:
    schema = answers[operation.answer]
    if operation.is_list:
        schema = {
            "type": "object",
            "required": ["items", "total_count", "limit", "offset", "next"],
            "additionalProperties": False,
            "properties": {
                "items": {"type": "array", "items": schema},
                "total_count": {"type": "integer", "minimum": 0},
                "limit": PAGE["limit"],
                "offset": PAGE["offset"],
                "next": {"type": ["string", "null"], "description": "The address of the next piece"},
            },
        }
    content = {JSON: {"schema": schema}}
    content |= {media: {"schema": {"type": "string"}} for media in operation.also}
    return {"description": "Done", "content": content}
