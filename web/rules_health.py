"""How the rules of rule files do, as the scheduler says, which evaluates them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from appliance.bus import BusError
from checks.model import State
from checks.rules import firing_state
from web.services import Services

TIMEOUT_S = 2.0
NEVER = "0001-01-01T00:00:00Z"  # As Prometheus writes a time that has not come.

Live = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Id of a document → name of a group → the group, in the shape of Prometheus' HTTP API."""


def live_groups(services: Services) -> Live | None:
    """None, when the scheduler does not answer."""
    try:
        groups = services.ask("scheduler", "rules", timeout_s=TIMEOUT_S).body
    except BusError as error:
        services.log.info("how the rules do is not known: %s", error)
        return None
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for group in groups:
        found.setdefault(group["id"], {})[group["name"]] = group
    return found


def with_health(view: dict[str, Any], live: Live | None) -> dict[str, Any]:
    """The JSON of a rule file, each group and rule with how it did when it was evaluated last."""
    groups = (live or {}).get(view["id"], {})
    return view | {
        "is_health_known": live is not None,
        "groups": [_group(group, groups.get(group["name"], {})) for group in view["groups"]],
    }


def _group(group: dict[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    theirs: Sequence[Mapping[str, Any]] = live.get("rules", ())
    names = [(rule["type"], rule["name"]) for rule in group["rules"]]
    if names != [(rule["type"], rule["name"]) for rule in theirs]:
        theirs = [{}] * len(names)  # It was changed, and has not been evaluated since.
        live = {}
    return group | {
        "last_evaluation_ms": _time_ms(live.get("lastEvaluation")),
        "evaluation_s": live.get("evaluationTime"),
        "trouble": live.get("trouble", ""),
        "rules": [rule | _health(rule, their) for rule, their in zip(group["rules"], theirs, strict=True)],
    }


def _health(rule: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "health": live.get("health", "unknown"),
        "last_error": live.get("lastError", ""),
        "last_evaluation_ms": _time_ms(live.get("lastEvaluation")),
        "evaluation_s": live.get("evaluationTime"),
    }
    if rule["type"] == "alerting":
        found["state"] = live.get("state", "unknown")
        found["alerts"] = [_alert(alert) for alert in live.get("alerts", ())]
    return found


def _alert(alert: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "labels": alert["labels"],
        "annotations": alert["annotations"],
        "state": alert["state"],
        "active_at_ms": _time_ms(alert["activeAt"]),
        "value": alert["value"],
    }


def _time_ms(text: str | None) -> int | None:
    return None if text in (None, NEVER) else round(datetime.fromisoformat(text or "").timestamp() * 1_000)


def firing_word(alerts: Sequence[Mapping[str, Any]]) -> str:
    """How bad the firing ones of some alerts are, as the overview shows it: `critical` or `warning`."""
    states = {firing_state(alert["labels"]) for alert in alerts if alert["state"] == "firing"}
    return "warning" if states == {State.WARNING} else "critical"


def standing(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All groups of one document in a few numbers, for a list."""
    rules = [rule for group in groups.values() for rule in group["rules"]]
    alerts = [alert for rule in rules for alert in rule.get("alerts", ())]
    states = [alert["state"] for alert in alerts]
    times = [time_ms for group in groups.values() if (time_ms := _time_ms(group["lastEvaluation"])) is not None]
    return {
        "error_count": sum(rule["health"] == "err" for rule in rules),
        "firing_count": states.count("firing"),
        "firing_word": firing_word(alerts),
        "pending_count": states.count("pending"),
        "last_evaluation_ms": max(times, default=None),
    }
