"""Rule files: brought, tried, changed and taken out again, and how their rules do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request

from checks.errors import CheckError
from checks.model import DEFAULT_TEAM
from checks.rules import RefusedText, file_of
from checks.rules_view import rules_summary
from tsdb.rules import Fault
from web import htmx
from web.api import channels, rules
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.kit import parsed_rules
from web.pages.numbered import numbered
from web.rules_health import firing_word, live_groups, standing
from web.services import services

bp = Blueprint("rules", __name__, url_prefix="/rules", template_folder="templates")

FILE_COUNT = 50
FAULTS_SHOWN = 50
ALERTS_SHOWN = 10  # Of one rule; its check has the others.
EXAMPLE = """groups:
  - name: machines
    interval: 30s
    rules:
      - record: instance:memory_used:ratio
        expr: 1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes
      - alert: MemoryAlmostFull
        expr: instance:memory_used:ratio > 0.95
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: "{{ $labels.host }} uses {{ $value | humanizePercentage }} of its memory"
"""


@dataclass(frozen=True, slots=True)
class Marked:
    """A fault beside the line that it is about; line 0: it is about the whole text."""

    line: int
    words: str
    source: str


@dataclass(slots=True)
class Form:
    name: str = ""
    team: str = DEFAULT_TEAM
    text: str = ""
    channels: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    faults: list[Marked] = field(default_factory=list)
    rules_id: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        return {"name": self.name, "team": self.team, "text": self.text, "channels": self.channels}


@bp.get("")
def page() -> Response:
    """The whole page, or its live part for the poll that it carries."""
    found = numbered(rules.documents(), size=FILE_COUNT)
    live = live_groups(services())
    return htmx.page_or_partial(
        "rules/page.html",
        "rules/_live.html",
        section="rules",
        page=found,
        files=[
            rules_summary(entry, parsed_rules().of(entry).groups)
            | standing((live or {}).get(entry.id, {}))
            | {"is_readable": not parsed_rules().of(entry).faults}
            for entry in found.items
        ],
        is_health_known=live is not None,
        example=EXAMPLE,
        now_ms=services().clock.now_ms(),
    )


@bp.get("/<rules_id>")
def detail(rules_id: str) -> Response:
    """One rule file with its groups, or its live part."""
    document = rules.get_document(rules_id)
    return htmx.page_or_partial(
        "rules/detail.html",
        "rules/_groups.html",
        section="rules",
        file=rules.view_of(rules_id),
        faults=parsed_rules().of(document).faults,
        alerts_shown=ALERTS_SHOWN,
        firing_word=firing_word,
        now_ms=services().clock.now_ms(),
    )


@bp.get("/new")
@needs(Role.EDITOR)
def new() -> Response:
    """The empty form; `?example=1` fills it in."""
    text = EXAMPLE if request.args.get("example") else ""
    names = [str(entry.body["name"]) for entry in channels.documents()]
    return _page(Form(name="machines" if text else "", team=identity().team or DEFAULT_TEAM, text=text, channels=names))


@bp.get("/<rules_id>/edit")
@needs(Role.EDITOR)
def edit(rules_id: str) -> Response:
    document = rules.get_document(rules_id)
    file = file_of(document.body)
    form = Form(name=file.name, team=file.team, text=file.text, channels=file.channels, rules_id=rules_id)
    form.faults = marked(parsed_rules().of(document).faults, form.text)
    return _page(form)


def _page(form: Form, *, trial: dict[str, Any] | None = None, status: int = 200) -> Response:
    page = render_template(
        "rules/form.html",
        section="rules",
        form=form,
        faults_shown=FAULTS_SHOWN,
        all_channels=[entry.body for entry in channels.documents()],
        trial=trial,
        firing_word=firing_word,
        action=f"/rules/{form.rules_id}/edit" if form.rules_id else "/rules/new",
    )
    return make_response(page, status)


def _read(rules_id: str | None = None) -> Form:
    sent = request.form
    return Form(
        name=sent.get("name", "").strip(),
        team=sent.get("team", "").strip() or identity().team or DEFAULT_TEAM,
        text=sent.get("text", "").replace("\r\n", "\n"),  # As a browser sends the lines of any text.
        channels=sent.getlist("channels"),
        rules_id=rules_id,
    )


def marked(faults: Sequence[Fault], text: str) -> list[Marked]:
    """Faults beside the lines of the text that they are about."""
    lines = text.split("\n")
    return [
        Marked(fault.line, fault.message, lines[fault.line - 1] if 0 < fault.line <= len(lines) else "")
        for fault in faults
    ]


@bp.post("/new")
def create() -> Response:
    return _save(_read())


@bp.post("/<rules_id>/edit")
def save(rules_id: str) -> Response:
    rules.get_document(rules_id)
    return _save(_read(rules_id))


def _save(form: Form) -> Response:
    if request.form.get("do") == "try":  # Without script: the page again, with the result.
        return _page(form, trial=_trial(form))
    try:
        if form.rules_id is None:
            form_id = rules.create(form.body)
        else:
            form_id = form.rules_id
            rules.change(form_id, form.body)
    except RefusedText as error:
        form.faults = marked(error.faults, form.text)
        form.problems = {"text": ""}
    except CheckError as error:
        form.problems = error.errors or {"name": error.message}
    else:
        return htmx.go_to(f"/rules/{form_id}")
    return _page(form, status=422)


@bp.post("/trial")
def trial() -> Response:
    """The panel beside the form: what each rule would do now."""
    page = render_template(
        "rules/_trial.html", trial=_trial(_read()), faults_shown=FAULTS_SHOWN, firing_word=firing_word
    )
    return make_response(page)


def _trial(form: Form) -> dict[str, Any]:
    """{"groups"} or {"faults"}, as _trial.html shows it."""
    try:
        return {"groups": rules.try_text(form.text)}
    except RefusedText as error:
        return {"faults": marked(error.faults, form.text)}


@bp.post("/<rules_id>/pause")
def pause(rules_id: str) -> Response:
    rules.change(rules_id, {"paused": True})
    return htmx.go_to(f"/rules/{rules_id}")


@bp.post("/<rules_id>/resume")
def resume(rules_id: str) -> Response:
    rules.change(rules_id, {"paused": False})
    return htmx.go_to(f"/rules/{rules_id}")


@bp.post("/<rules_id>/delete")
def delete(rules_id: str) -> Response:
    rules.remove(rules_id)
    return htmx.go_to("/rules")
