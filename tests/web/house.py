"""The web application on real parts: a state process, a store, an intake and a query process, each in a thread.

Only the scheduler is a stand-in: a service that answers runs with a fixed result, so that views are quick to test.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from appliance.bus import Client, Server
from appliance.child import ChildContext
from appliance.clock import SystemClock
from appliance.config import load
from appliance.metrics import Metrics
from appliance.state import PutDocument
from appliance.state.process import run_state
from tests.waiting import wait_until
from tsdb.node.intake import run_intake
from tsdb.node.query import run_query
from tsdb.node.store import run_store
from web.app import create_app
from web.auth import tokens
from web.auth.passwords import Passwords
from web.auth.roles import Role
from web.auth.users import NewUser
from web.process import follow, services_of

PASSWORD = "correct horse battery"
RESULT = {
    "state": "ok",
    "output": "HTTP 200 OK",
    "duration_s": 0.012,
    "at_ms": 1_700_000_000_000,
    "perfdata": [{"label": "time", "value": 0.012, "unit": "s", "warning": "", "critical": ""}],
    "instances": [],
    "transcript": ["connected"],
}
LOOKED = {  # What the scheduler finds at any address.
    "items": [
        {
            "kind": "http",
            "name": "shop.example",
            "options": {"url": "https://shop.example/"},
            "is_ticked": True,
            "result": RESULT,
        },
        {
            "kind": "dns",
            "name": "shop.example name",
            "options": {"name": "shop.example"},
            "is_ticked": False,
            "result": RESULT,
        },
    ],
    "note": "",
}
ROLES = ("admin", "editor", "viewer")


class House:
    """One application and what it needs. `client(role)` is a browser that is signed in, `token(role)` a program."""

    def __init__(self, app: Flask, context: ChildContext) -> None:
        self.app, self.context = app, context
        self.services = app.extensions["henge"]
        self.asked: list[tuple[str, Any]] = []  # What the scheduler was asked.
        self.rule_groups: list[dict[str, Any]] = []  # What the scheduler says of rules.
        self.test_answer: dict[str, Any] = {"delivered": True, "detail": "the receiver answered 200"}
        self._tokens: dict[tuple[str, str | None], str] = {}

    def look(self, body: Any) -> Any:
        """What the scheduler finds at an address."""
        self.asked.append(("look", body))
        return LOOKED

    def client(self, role: str | None = None) -> FlaskClient:
        """A browser; role None is a stranger."""
        client = self.app.test_client()
        if role is not None:
            page = client.get("/login").text
            answer = client.post("/login", data={"name": role, "password": PASSWORD, "csrf": csrf_of(page)})
            assert answer.status_code == 303, answer.text
        return client

    def token(self, role: str = "admin", team: str | None = None) -> dict[str, str]:
        """The header of a program with a token."""
        key = (role, team)
        if key not in self._tokens:
            new = tokens.NewToken(name=f"{role} {team}", role=Role(role), team=team)
            self._tokens[key] = tokens.create(self.services.state, new, actor="test")[1]
        return {"Authorization": f"Bearer {self._tokens[key]}"}

    def call(self, method: str, path: str, body: Any = None, *, role: str = "admin", team: str | None = None) -> Any:
        """One request of a program → the response."""
        return self.app.test_client().open(path, method=method, json=body, headers=self.token(role, team))

    def add_check(self, name: str, **further: Any) -> dict[str, Any]:
        body = {"kind": "http", "name": name, "options": {"url": "http://127.0.0.1:1/"}, **further}
        answer = self.call("POST", "/api/v1/checks", body)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json
        return created

    def put(self, kind: str, doc_id: str, body: dict[str, Any]) -> None:
        self.services.state.apply([PutDocument(kind=kind, id=doc_id, body=body)], actor="test")


def csrf_of(page: str) -> str:
    """The token of the first form of a page."""
    _, found, rest = page.partition('name="csrf" value="')
    assert found, page[:500]
    return rest.partition('"')[0]


@contextlib.contextmanager
def running_house(folder: Path, *, with_users: bool = True) -> Iterator[House]:
    with mock.patch("web.gathering.TIMEOUT_S", 0.2):  # No supervisor runs here; nobody shall wait for it.
        yield from _running_house(folder, with_users=with_users)


def _running_house(folder: Path, *, with_users: bool) -> Iterator[House]:
    config = load(data_dir=folder / "data", overrides=["store.retention=forever"], environ={})
    config.data_dir.mkdir(parents=True)
    config.run_dir.mkdir(mode=0o700)
    context = ChildContext(
        name="test", config=config, clock=SystemClock(), metrics=Metrics(), log=logging.getLogger("tests.web")
    )
    threads = [
        threading.Thread(target=run, args=(context,), name=run.__name__)
        for run in (run_state, run_store, run_intake, run_query)
    ]
    opened: list[Client] = []  # By processes that end with their clients; here they are threads, so we close them.

    def recorded(run_dir: Path, service: str, *, is_direct: bool = False) -> Client:
        opened.append(Client(run_dir, service, is_direct=is_direct))
        return opened[-1]

    with mock.patch("tsdb.node.intake.Client", recorded), mock.patch("tsdb.node.query.Client", recorded):
        for thread in threads:
            thread.start()
        for service in ("intake", "query"):
            wait_until(lambda name=service: answers(config.run_dir, name), what=f"{service} to answer", timeout_s=20)
    try:
        for service in ("state", "store"):
            wait_until(lambda name=service: answers(config.run_dir, name), what=f"{service} to answer", timeout_s=20)
        services = services_of(context, 8420)
        app = create_app(services)
        follower = threading.Thread(target=follow, args=(app, context), name="follow")
        follower.start()
        threads.append(follower)
        app.extensions["henge_auth"].passwords = app.extensions["henge_auth"].users._passwords = Passwords(
            PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        house = House(app, context)
        scheduler = Server(config.run_dir, "scheduler", metrics=Metrics())
        for op in ("run", "try"):
            scheduler.handle(op, lambda request, op=op: house.asked.append((op, request.body)) or RESULT)
        scheduler.handle("rules", lambda request: house.rule_groups)
        scheduler.handle("look", lambda request: house.look(request.body))
        scheduler.handle("test_channel", lambda request: house.test_answer)
        threads.append(scheduler.start_thread(context.stopping))
        if with_users:
            for role in ROLES:
                app.extensions["henge_auth"].users.create(
                    NewUser(name=role, password=PASSWORD, role=Role(role)), actor="test"
                )
        yield house
        services.close()
    finally:
        context.stop()
        for thread in threads:
            thread.join(timeout=20)
        for client in opened:
            client.close()


def answers(run_dir: Path, service: str) -> bool:
    client = Client(run_dir, service)
    try:
        return client.call("ping", timeout_s=0.5) is not None
    except Exception:
        return False
    finally:
        client.close()
