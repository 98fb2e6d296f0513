"""What each operation of /api/v1 takes and answers, for its description: one row for each view.

What follows from the address and the method alone (a path's argument may name what is not there, a body may be no
JSON, a role may not suffice) is added by openapi.py and does not stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tsdb.client import WriteAnswer
from web.api import answers
from web.api.incidents import IncidentChange
from web.api.paging import LIMIT, LIMIT_MAX, OFFSET_MAX
from web.api.rules import RulesTrial
from web.api.series import ARROW_TYPES
from web.auth.tokens import NewToken
from web.auth.users import NewUser, UserChange

Schema = Mapping[str, Any]

STATES: Schema = {"enum": ["ok", "warning", "critical", "unknown", "pending"]}
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
LIMIT_SCHEMA: Schema = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT}
PAGE: Mapping[str, Schema] = {
    "limit": LIMIT_SCHEMA,
    "offset": {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """answer: the type of its JSON. is_list: the answer is a page of such.

    body: the type of the JSON body, or the name of a schema that openapi.py makes. binary: the media type of a body
    that is no JSON. asked: arguments of the query and their schemas. needed: those that must be there.
    refusals: statuses beside those that follow from the address and the method.
    also: other media types that the answer may have. failed: statuses that carry an answer of the same type.
    """

    answer: type
    is_list: bool = False
    body: type | str | None = None
    binary: str | None = None
    asked: Mapping[str, Schema] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()
    also: tuple[str, ...] = ()
    failed: tuple[int, ...] = ()


MS: Schema = {"type": "integer", "minimum": 0, "maximum": 2**53}
CHART_ASKED: Mapping[str, Schema] = {
    "expression": {"type": "string", "minLength": 1, "description": "PromQL"},
    "start_ms": MS,
    "end_ms": MS,
    "step_ms": {"type": "integer", "minimum": 1, "maximum": 2**53},
}
CHECKS_ASKED: Mapping[str, Schema] = {
    "q": TEXT,
    "state": {"type": "array", "items": STATES},
    "kind": TEXTS,
    "team": TEXTS,
    "name": TEXTS,
}
EVENTS_ASKED: Mapping[str, Schema] = {
    "kind": TEXT,
    "subject": TEXT,
    "before_seq": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "limit": LIMIT_SCHEMA,
}
AUDIT_ASKED: Mapping[str, Schema] = {
    "kind": TEXT,
    "id": TEXT,
    "actor": TEXT,
    "before_seq": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "limit": LIMIT_SCHEMA,
}
CARDINALITY_ASKED: Mapping[str, Schema] = {"limit": LIMIT_SCHEMA, "format": {"enum": ["json", "text"]}}

OPERATIONS: Mapping[str, Operation] = {
    "api_access.list_users": Operation(answer=answers.StoredUser, is_list=True),
    "api_access.create_user": Operation(answer=answers.StoredUser, body=NewUser, refusals=(409,)),
    "api_access.get_user": Operation(answer=answers.StoredUser),
    "api_access.change_user": Operation(answer=answers.StoredUser, body=UserChange, refusals=(409,)),
    "api_access.delete_user": Operation(answer=answers.Deleted, refusals=(409,)),
    "api_access.list_tokens": Operation(answer=answers.StoredToken, is_list=True),
    "api_access.create_token": Operation(answer=answers.CreatedToken, body=NewToken),
    "api_access.get_token": Operation(answer=answers.StoredToken),
    "api_access.delete_token": Operation(answer=answers.Deleted),
    "api_access.delete_second_factor": Operation(answer=answers.Deleted),
    "api_access.list_sessions": Operation(answer=answers.StoredSession, is_list=True, asked={"user_id": TEXT}),
    "api_access.delete_session": Operation(answer=answers.Deleted),
    "api_audit.list_audit": Operation(answer=answers.Audit, asked=AUDIT_ASKED, refusals=(422,)),
    "api_channels.list_channels": Operation(answer=answers.StoredChannel, is_list=True),
    "api_channels.create_channel": Operation(answer=answers.StoredChannel, body="Channel", refusals=(409,)),
    "api_channels.get_channel": Operation(answer=answers.StoredChannel),
    "api_channels.change_channel": Operation(answer=answers.StoredChannel, body="ChannelChange", refusals=(409,)),
    "api_channels.delete_channel": Operation(answer=answers.Deleted, refusals=(409,)),
    "api_channels.test_channel": Operation(answer=answers.Delivered, failed=(502,)),
    "api_channels.list_deliveries": Operation(answer=answers.Delivery, is_list=True),
    "api_chart.chart": Operation(
        answer=answers.Chart, asked=CHART_ASKED, needed=("expression", "start_ms", "end_ms"), refusals=(400,)
    ),
    "api_checks.list_checks": Operation(answer=answers.StoredCheck, is_list=True, asked=CHECKS_ASKED),
    "api_checks.create_check": Operation(answer=answers.StoredCheck, body="Check", refusals=(409,)),
    "api_checks.try_check": Operation(answer=answers.RunResult, body="CheckTrial", refusals=(404,)),
    "api_checks.get_check": Operation(answer=answers.StoredCheck),
    "api_checks.change_check": Operation(answer=answers.StoredCheck, body="CheckChange", refusals=(409,)),
    "api_checks.delete_check": Operation(answer=answers.Deleted),
    "api_checks.run_check": Operation(answer=answers.RunResult),
    "api_checks.list_results": Operation(
        answer=answers.PastResult,
        is_list=True,
        asked={"end_ms": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}},
    ),
    "api_downtimes.list_downtimes": Operation(answer=answers.StoredDowntime, is_list=True),
    "api_downtimes.create_downtime": Operation(answer=answers.StoredDowntime, body="NewDowntime"),
    "api_downtimes.get_downtime": Operation(answer=answers.StoredDowntime),
    "api_downtimes.change_downtime": Operation(answer=answers.StoredDowntime, body="DowntimeChange", refusals=(409,)),
    "api_downtimes.delete_downtime": Operation(answer=answers.Deleted),
    "api_incidents.list_incidents": Operation(
        answer=answers.StoredIncident,
        is_list=True,
        asked={"state": {"enum": ["open", "resolved"]}, "check_id": TEXT},
    ),
    "api_incidents.get_incident": Operation(answer=answers.StoredIncident),
    "api_incidents.change_incident": Operation(answer=answers.StoredIncident, body=IncidentChange, refusals=(409,)),
    "api_openapi.openapi": Operation(answer=dict[str, Any]),
    "api_rules.list_rules": Operation(
        answer=answers.RuleFileSummary, is_list=True, asked={"team": TEXTS, "name": TEXTS}
    ),
    "api_rules.create_rules": Operation(answer=answers.StoredRuleFile, body="RuleFile", refusals=(409,)),
    "api_rules.get_rules": Operation(answer=answers.StoredRuleFile),
    "api_rules.change_rules": Operation(answer=answers.StoredRuleFile, body="RuleFileChange", refusals=(409,)),
    "api_rules.delete_rules": Operation(answer=answers.Deleted),
    "api_rules.try_rules": Operation(answer=answers.RulesTried, body=RulesTrial),
    "api_series.write": Operation(answer=WriteAnswer, body="Series", refusals=(507,)),
    "api_series.write_arrow": Operation(answer=WriteAnswer, binary=ARROW_TYPES[0], refusals=(415, 507)),
    "api_system.system": Operation(answer=answers.System),
    "api_system.cardinality": Operation(
        answer=answers.Cardinality, asked=CARDINALITY_ASKED, also=("text/plain",), refusals=(422,)
    ),
    "api_system.list_events": Operation(answer=answers.Events, asked=EVENTS_ASKED, refusals=(422,)),
}
