"""A check as the API shows it: what was written, and how it stands. Secrets are hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.state.model import Document
from checks.catalogue import check_of, secret_names
from checks.latest import Latest, LatestInstance, latest_of
from checks.model import State
from checks.sealed import hidden
from checks.state import StateType


def latest_from(document: Document | None) -> Latest | None:
    """The latest result of a document, or None if there is none that can be read."""
    if document is None:
        return None
    try:
        return latest_of(document.body)
    except msgspec.ValidationError:
        return None  # Written by another version: the next run replaces it.


def check_view(check_document: Document, result_document: Document | None) -> dict[str, Any]:
    """The JSON of one check. Its contract: state, state_type, last_result, next_run_ms beside what was written."""
    check = check_of(check_document.body)
    latest = latest_from(result_document)
    body: dict[str, Any] = msgspec.to_builtins(check)
    body["options"] = hidden(check.options, secret_names(check.kind))
    return {
        "id": check_document.id,
        **body,
        "state": latest.state if latest else State.PENDING.word,
        "state_type": latest.state_type if latest else StateType.HARD.value,
        "attempt": latest.attempt if latest else 0,
        "since_ms": latest.since_ms if latest else None,
        "late": latest.late if latest else False,
        "is_flapping": latest.is_flapping if latest else False,
        "last_ok_ms": latest.last_ok_ms if latest else None,
        "last_result": result_view(latest) if latest else None,
        "instances": [instance_view(instance) for instance in latest.instances] if latest else [],
        "next_run_ms": latest.next_run_ms if latest and not check.paused else None,
        "version": check_document.version,
        "created_ms": check_document.created_ms,
        "updated_ms": check_document.updated_ms,
        "updated_by": check_document.updated_by,
    }


def result_view(latest: Latest) -> dict[str, Any]:
    return {
        "at_ms": latest.at_ms,
        "state": latest.state,
        "output": latest.output,
        "duration_s": latest.duration_s,
        "perfdata": msgspec.to_builtins(latest.perfdata),
        "transcript": list(latest.transcript),
    }


def instance_view(instance: LatestInstance) -> Mapping[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(instance)
    del body["machine"]
    return body
