"""The HTTP interface does as /api/v1/openapi.json says: every operation, asked with generated requests by all roles.

schemathesis makes requests from the description, right ones and wrong ones, and compares each answer with it: no
status, media type or field that is not described, no fault of ours, nothing wrong taken.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi import checks as conformance

from tests.profile import IS_FULL
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import wait_until
from web.auth import keys, totp

SEED = 7
EXAMPLE_COUNT_BY_ROLE = {None: 1, "viewer": 1, "editor": 1, "admin": 2}  # Of each operation and each kind of request.
MORE = 8 if IS_FULL else 1
TIMEOUT_S = 20
ANSWER_CHECKS = [
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
    conformance.response_headers_conformance,
]
LATER = {"from_ms": 2**41 - 60_000, "until_ms": 2**41}
PASSWORD = "a long enough passphrase"
RULES = """groups:
- name: g
  rules:
  - {record: one, expr: vector(1)}
  - {alert: Two, expr: vector(2), for: 1m, annotations: {summary: two}}
"""
DOORS_OF_SAMPLES = ("/api/v1/series", "/api/v1/write/arrow")
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("described"), settings=("store.retention=forever",)) as running:
        before = {name: pid for name, pid in running.ready["processes"].items() if pid}
        yield running
        after = {name: pid for name, pid in running.ready["processes"].items() if pid}
        assert after == before, "a process was restarted by a request"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def schema(appliance: Appliance) -> BaseSchema:
    load_all_checks()
    schemathesis.serializer.alias(ARROW, "application/octet-stream")
    _, document = appliance.call("GET", "/api/v1/openapi.json")
    return schemathesis.openapi.from_dict(document)


@dataclass
class Described:
    """The document, and a sender of requests that belongs to one role."""

    url: str
    schema: BaseSchema
    role: str | None
    token: str | None
    statuses: set[int] = field(default_factory=set)
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def operations(self) -> list[APIOperation]:
        """Those that take away what the others ask for come last."""
        found = [entry.ok() for entry in self.schema.get_all_operations()]
        return sorted(found, key=lambda operation: operation.method.lower() == "delete")

    def send(self, case: Case) -> int:
        """One request, whose answer is as described. Raises: schemathesis' failures."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = case.call(base_url=self.url, session=self.session, headers=headers, timeout=TIMEOUT_S)
        checks = list(ANSWER_CHECKS)
        if not (answer.status_code == 502 and case.path.endswith("/test")):  # The receiver's fault, and its words.
            checks.append(not_a_server_error)
        if has_wrong_body(case):
            checks.append(conformance.negative_data_rejection)
        case.validate_response(answer, checks=checks)
        self.statuses.add(answer.status_code)
        return int(answer.status_code)


def has_wrong_body(case: Case) -> bool:
    """Only what a body brings must be refused: an empty argument of the address counts as one that is not there, and an
    unknown one is passed over. A wrong series costs its neighbours in a body of samples nothing."""
    if case.operation.path in DOORS_OF_SAMPLES:
        return False
    body = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return body is not None and body.mode.is_negative


@dataclass(frozen=True)
class Things:
    """What is there to be asked for: the arguments of paths, and right requests by operation."""

    ids: dict[str, str]
    right: dict[str, dict[str, Any]]


def things(appliance: Appliance, receiver: Receiver, name: str) -> Things:
    def made(path: str, body: dict[str, Any]) -> str:
        status, answer = appliance.call("POST", f"/api/v1/{path}", body)
        assert status == 201, answer
        return str(answer["id"])

    hook = {"kind": "webhook", "name": f"hook {name}", "options": {"url": receiver.url}}
    refused = {"kind": "tcp", "options": {"host": "127.0.0.1", "port": 9}, "max_check_attempts": 1}
    check_id = made("checks", {**refused, "name": f"check {name}", "paused": True})
    assert appliance.call("POST", f"/api/v1/checks/{check_id}/run")[0] == 200
    incident = wait_until(
        lambda: appliance.call("GET", f"/api/v1/incidents?check_id={check_id}")[1]["items"], what="an incident"
    )[0]
    ids = {
        "check_id": check_id,
        "channel_id": made("channels", hook),
        "downtime_id": made("downtimes", {"check_id": check_id, **LATER}),
        "user_id": made("users", {"name": f"user {name}", "password": PASSWORD}),
        "token_id": made("tokens", {"name": f"token {name}"}),
        "incident_id": incident["id"],
        "rules_id": made("rules", {"name": f"rules {name}", "text": RULES}),
    }
    other_id = made("users", {"name": f"other {name}", "password": PASSWORD, "role": "admin"})  # So the first may go.
    ids["session_id"] = signed_in_with_second_factor(appliance.url, f"other {name}")
    stream = io.BytesIO()
    pl.DataFrame({"series": ["up"], "timestamp_ms": [1], "value": [1.0]}).write_ipc_stream(stream)
    right: dict[str, dict[str, Any]] = {
        "POST /api/v1/checks": {"body": {**refused, "name": f"new {name}", "paused": True}},
        "POST /api/v1/checks/try": {"body": {"kind": "push", "options": {"period_s": 60}}},
        "PATCH /api/v1/checks/{check_id}": {"body": {"labels": {"tier": "1"}}},
        "POST /api/v1/channels": {"body": {**hook, "name": f"new {name}"}},
        "PATCH /api/v1/channels/{channel_id}": {"body": {"paused": False}},
        "POST /api/v1/downtimes": {"body": {"matchers": {"tier": "1"}, **LATER}},
        "PATCH /api/v1/downtimes/{downtime_id}": {"body": {"comment": "longer"}},
        "PATCH /api/v1/incidents/{incident_id}": {"body": {"acknowledged": True}},
        "POST /api/v1/users": {"body": {"name": f"new {name}", "password": PASSWORD, "role": "editor"}},
        "PATCH /api/v1/users/{user_id}": {"body": {"role": "editor"}},
        "DELETE /api/v1/users/{user_id}/second-factor": {"path_parameters": {"user_id": other_id}},
        "POST /api/v1/tokens": {"body": {"name": f"new {name}", "role": "viewer"}},
        "POST /api/v1/rules": {"body": {"name": f"new {name}", "text": RULES}},
        "PATCH /api/v1/rules/{rules_id}": {"body": {"paused": True}},
        "POST /api/v1/rules/try": {"body": {"text": RULES}},
        "POST /api/v1/series": {"body": [{"labels": {"__name__": "up"}, "samples": [[0, 1.5], [1, "NaN"]]}]},
        "POST /api/v1/write/arrow": {"body": stream.getvalue(), "media_type": ARROW},
        "GET /api/v1/chart": {"query": {"expression": "vector(1)", "start_ms": 0, "end_ms": 60_000}},
    }
    return Things(ids, right)


def signed_in_with_second_factor(url: str, name: str) -> str:
    """Log in as a browser does, and turn the second factor on → the id of the session."""
    with requests.Session() as browser:
        browser.trust_env = False

        def field(page: str, name: str) -> str:
            return re.findall(f'name="{name}" value="([^"]*)"', page)[-1]

        def sent(path: str, **form: str) -> None:
            answer = browser.post(f"{url}{path}", data=form, timeout=TIMEOUT_S, allow_redirects=False)
            assert answer.status_code in (200, 303), answer.text

        sent("/login", name=name, password=PASSWORD, csrf=field(browser.get(f"{url}/login").text, "csrf"))
        page = browser.get(f"{url}/account/second-factor").text
        secret = page.partition('id="totp-secret">')[2].partition("<")[0]
        code = totp.code_at(secret, int(time.time() * 1000) // totp.STEP_MS)
        form = {"csrf": field(page, "csrf"), "pending": field(page, "pending"), "current": PASSWORD, "code": code}
        sent("/account/second-factor", **form)
        (cookie,) = [cookie.value for cookie in browser.cookies if cookie.name.startswith("henge_session_")]
        assert cookie is not None
        return keys.digest(cookie)


def tame(case: Case) -> None:
    """Nothing that chance wrote is run: stored checks are paused, as a check may name any host or program."""
    if isinstance(case.body, dict) and "kind" in case.body and case.body.get("paused", False) is False:
        case.body["paused"] = True


@pytest.mark.timeout(900 if IS_FULL else 120)
@pytest.mark.parametrize("role", EXAMPLE_COUNT_BY_ROLE, ids=str)
def test_every_operation_answers_as_it_is_described(
    appliance: Appliance, receiver: Receiver, schema: BaseSchema, role: str | None
) -> None:
    token = role and appliance.henge("token", "create", "--name", role, "--role", role).split()[-1]
    described = Described(appliance.url, schema, role, token)
    there = things(appliance, receiver, str(role))
    faults = [fault for operation in described.operations() if (fault := fault_of(operation, described, there))]
    assert not faults, f"seed {SEED}\n\n" + "\n\n".join(faults)
    assert role is not None or described.statuses == {401}


def fault_of(operation: APIOperation, described: Described, there: Things) -> str | None:
    """What is wrong with the first answer that is not as described."""
    known = {name: there.ids[name] for name in path_arguments(operation)}
    asked = {"path_parameters": known, **there.right.get(operation.label, {})}
    if "body" in asked:
        asked.setdefault("media_type", "application/json")

    def right() -> None:
        status = described.send(operation.Case(**asked))
        assert described.role != "admin" or status in (200, 201), f"{status}: its answer could not be compared"

    def generated() -> None:
        by_chance(operation, described, known)()

    for ask in (right, generated):
        try:
            ask()
        except (AssertionError, FailureGroup) as error:
            return f"{operation.label}\n{error}\n" + "\n".join(str(part) for part in getattr(error, "exceptions", ()))
    return None


def path_arguments(operation: APIOperation) -> list[str]:
    return [parameter.name for parameter in operation.path_parameters]


def by_chance(operation: APIOperation, described: Described, known: dict[str, str]) -> Callable[[], None]:
    """Requests right and wrong, for what is there and for what is not."""
    strategies = [
        operation.as_strategy(mode, path_parameters=known)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
    if known:
        strategies.append(operation.as_strategy())

    @seed(SEED)
    @settings(
        max_examples=EXAMPLE_COUNT_BY_ROLE[described.role] * MORE * len(strategies),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(strategies))
    def asked(case: Case) -> None:
        tame(case)
        described.send(case)

    return asked
