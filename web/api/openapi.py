"""The OpenAPI 3.1 description of /api/v1, made from the routes and the types that decode their bodies."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app

from appliance.version import version
from checks.channels import Channel
from checks.downtimes import Downtime
from checks.model import Check
from checks.rules import RuleFile
from web.api.incidents import IncidentChange
from web.api.rules import RulesTrial
from web.api.series import ARROW_TYPES
from web.auth.guard import SAFE_METHODS
from web.auth.tokens import NewToken
from web.auth.users import NewUser, UserChange
from web.errors import json_response

bp = Blueprint("api_openapi", __name__, url_prefix="/api/v1")

BODY_BY_ENDPOINT: dict[str, type] = {
    "api_checks.create_check": Check,
    "api_checks.change_check": Check,
    "api_checks.try_check": Check,
    "api_channels.create_channel": Channel,
    "api_channels.change_channel": Channel,
    "api_downtimes.create_downtime": Downtime,
    "api_downtimes.change_downtime": Downtime,
    "api_incidents.change_incident": IncidentChange,
    "api_rules.create_rules": RuleFile,
    "api_rules.change_rules": RuleFile,
    "api_rules.try_rules": RulesTrial,
    "api_access.create_user": NewUser,
    "api_access.change_user": UserChange,
    "api_access.create_token": NewToken,
}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "field": {"type": "string"}},
        }
    },
}
SERIES_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["labels", "samples"],
        "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "samples": {
                "type": "array",
                "items": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}]},
            },
        },
    },
}


@bp.get("/openapi.json")
def openapi() -> Response:
    return json_response(description())


def description() -> dict[str, Any]:
    """The whole document; the summary of each operation is its view's first sentence."""
    types = sorted(set(BODY_BY_ENDPOINT.values()), key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(current_app.url_map.iter_rules(), key=str):
        if not str(rule).startswith("/api/v1") or rule.endpoint == "static":
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(rule.endpoint, method, rule.arguments)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Henge", "version": version(), "description": "Lists are paged by limit and offset."},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": ERROR_SCHEMA, "Series": SERIES_SCHEMA},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: str, method: str, arguments: set[str]) -> dict[str, Any]:
    view = current_app.view_functions[endpoint]
    name = endpoint.partition(".")[2]
    text = inspect.getdoc(view) or ""
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": text.partition("\n")[0] or name.replace("_", " ").capitalize(),
        "parameters": [
            {"name": argument, "in": "path", "required": True, "schema": {"type": "string"}}
            for argument in sorted(arguments)
        ],
        "responses": {
            "201" if name.startswith("create_") else "200": {"description": "Done"},
            "default": {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if name.startswith("list_"):
        operation["parameters"] += [
            {"name": argument, "in": "query", "schema": {"type": "integer"}} for argument in ("limit", "offset")
        ]
    if endpoint == "api_system.cardinality":
        asked: dict[str, dict[str, Any]] = {"limit": {"type": "integer"}, "format": {"enum": ["json", "text"]}}
        operation["parameters"] += [{"name": word, "in": "query", "schema": values} for word, values in asked.items()]
    schema = "Series" if endpoint == "api_series.write" else None
    if kind := BODY_BY_ENDPOINT.get(endpoint):
        schema = kind.__name__
    if schema and method not in SAFE_METHODS:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        }
    if endpoint == "api_series.write_arrow":
        stream = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": {ARROW_TYPES[0]: stream}}
    return operation
