"""Adding and editing a check: pick a kind, fill in the form that its options draw, run it before saving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from flask import Blueprint, Response, make_response, render_template, request

from appliance.bus import BusError
from checks import forms
from checks.errors import CheckError
from checks.model import Check
from checks.probes import KINDS, Probe, probe
from checks.probes.options import OptionError
from web import htmx
from web.api import channels
from web.api.checks import (
    COMMAND_KINDS,
    apply,
    refuse_commands,
    refuse_team,
    refuse_wrong_expression,
    try_body,
    view_of,
    with_team,
)
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.errors import Refusal, not_found, refusal_from
from web.kit import catalogue

bp = Blueprint("check_forms", __name__, url_prefix="/checks", template_folder="templates")

ICONS = {
    "http": "globe",
    "tcp": "plug",
    "ping": "pulse",
    "dns": "book",
    "tls": "lock",
    "push": "heart",
    "nagios": "terminal",
    "host": "cpu",
    "query": "explore",
}
PREFIX = "options."
TIMING = ("interval_s", "timeout_s", "retry_interval_s", "max_check_attempts")


@dataclass(slots=True)
class Form:
    """What the page shows: the text of each field, and what is wrong with which."""

    kind: str
    values: dict[str, str] = field(default_factory=dict)  # Of the options, by bare name.
    name: str = ""
    timing: dict[str, str] = field(default_factory=dict)
    labels: str = ""
    channels: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)  # By the field's name in a check's JSON.
    check_id: str | None = None

    @property
    def probe(self) -> Probe[Any]:
        return probe(self.kind)


def suggested_name(kind: str, options: Mapping[str, Any]) -> str:
    """For who leaves the name empty: what is watched, else the kind."""
    required = next((entry.name for entry in forms.fields(kind) if entry.required), None)
    value = options.get(required, "") if required else ""
    text = " ".join(value) if isinstance(value, list) else str(value)
    return text.partition("://")[2].rstrip("/")[:120] or text[:120] or probe(kind).title


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise not_found("kind of check", kind)
    return kind


@bp.get("/new")
@needs(Role.EDITOR)
def pick_kind() -> Response:
    kinds = [probe(kind) for kind in KINDS if kind not in COMMAND_KINDS or identity().may(Role.ADMIN)]
    return make_response(render_template("checks/kinds.html", section="overview", kinds=kinds, icons=ICONS))


@bp.get("/new/<kind>")
@needs(Role.EDITOR)
def new(kind: str) -> Response:
    """The empty form; options in the address fill it in: `?options.expression=…&name=…`."""
    refuse_commands(_known(kind))
    values = forms.to_form(probe(kind).options_type, {})
    given = {name.removeprefix(PREFIX): text for name, text in request.args.items() if name.startswith(PREFIX)}
    form = Form(
        kind=kind,
        values=values | {name: text for name, text in given.items() if name in values},
        name=request.args.get("name", ""),
        timing=_timing_text(Check(kind=kind, name="")),
        channels=[str(entry.body["name"]) for entry in channels.documents()],
    )
    return _page(form)


def _page(form: Form, *, trial: Mapping[str, Any] | None = None, status: int = 200) -> Response:
    page = render_template(
        "checks/form.html",
        section="overview",
        form=form,
        fields=forms.fields(form.kind),
        timing_fields=[entry for entry in forms.options_fields(Check) if entry.name in TIMING],
        all_channels=[entry.body for entry in channels.documents()],
        icons=ICONS,
        trial=trial,
        action=f"/checks/{form.check_id}/edit" if form.check_id else f"/checks/new/{form.kind}",
        trial_action=f"/checks/{form.check_id}/trial" if form.check_id else f"/checks/trial/{form.kind}",
    )
    return make_response(page, status)


def _timing_text(check: Check) -> dict[str, str]:
    return {name: f"{getattr(check, name):.12g}" for name in TIMING}


def _read(kind: str, check_id: str | None = None) -> tuple[Form, dict[str, Any]]:
    """The form as it was sent, and the body of a check that it means."""
    sent = request.form
    texts = {name.removeprefix(PREFIX): text for name, text in sent.items() if name.startswith(PREFIX)}
    options, problems = forms.from_form(kind, texts)
    hidden = {entry.name for entry in forms.fields(kind) if entry.secret or entry.generated}
    if check_id is not None:  # In a change, what is left empty goes back to its default; secrets stay.
        options = {entry.name: None for entry in forms.fields(kind) if entry.name not in hidden} | options
        problems = {name: text for name, text in problems.items() if name not in hidden or texts.get(name)}
    timing, timing_problems = _read_timing()
    labels, label_problem = _read_labels(sent.get("labels", ""))
    form = Form(
        kind=kind,
        values=texts,
        name=sent.get("name", ""),
        timing={name: sent.get(name, "") for name in TIMING},
        labels=sent.get("labels", ""),
        channels=sent.getlist("channels"),
        problems={f"{PREFIX}{name}": text for name, text in problems.items()} | timing_problems | label_problem,
        check_id=check_id,
    )
    body = {"kind": kind, "name": form.name, "options": options, "channels": form.channels, "labels": labels, **timing}
    return form, body


def _read_timing() -> tuple[dict[str, Any], dict[str, str]]:
    numbers: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for entry in forms.options_fields(Check):
        text = request.form.get(entry.name, "").strip()
        if entry.name not in TIMING or not text:
            continue
        try:
            numbers[entry.name] = int(text) if entry.type == "integer" else float(text)
        except ValueError:
            problems[entry.name] = f"{text[:40]!r} is not {entry.wanted}"
    return numbers, problems


def _read_labels(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """`team=shop, tier=1`, with commas or on lines."""
    labels: dict[str, str] = {}
    for part in text.replace("\n", ",").split(","):
        if not part.strip():
            continue
        name, sign, value = part.partition("=")
        if not sign:
            return labels, {"labels": f"{part.strip()[:60]!r} is not written as name=value"}
        labels[name.strip()] = value.strip()
    return labels, {}


@bp.post("/new/<kind>")
def create(kind: str) -> Response:
    refuse_commands(_known(kind))
    form, body = _read(kind)
    if request.form.get("do") == "try":  # Without script: the page again, with the result.
        return _page(form, trial=_trial(form, body))
    if not form.problems:
        body["name"] = form.name.strip() or suggested_name(kind, body["options"])
        try:
            draft = catalogue().create(with_team(body))
            refuse_team(draft.check.team)
            refuse_wrong_expression(draft.check)
            apply(draft)
            return htmx.go_to(f"/checks/{draft.id}")
        except CheckError as error:
            form.problems |= error.errors or {"name": error.message}
    return _page(form, status=422)


@bp.post("/trial/<kind>")
def trial(kind: str) -> Response:
    """The panel beside the form: what a run finds, before anything is saved."""
    refuse_commands(_known(kind))
    form, body = _read(kind)
    return make_response(render_template("checks/_trial.html", trial=_trial(form, body)))


def _trial(form: Form, body: dict[str, Any]) -> dict[str, Any]:
    """{"result"} or {"problems": {field: text}}, as _trial.html shows it."""
    if form.problems:
        return {"problems": _with_labels(form.kind, form.problems)}
    try:
        return {"result": try_body(with_team({**body, "name": body["name"] or "trial"}), check_id=form.check_id)}
    except (CheckError, OptionError) as error:
        errors = error.errors if isinstance(error, CheckError) else {error.field: str(error)}
        return {"problems": _with_labels(form.kind, errors or {"": str(error)})}
    except (BusError, Refusal) as error:
        refusal = refusal_from(error)
        return {"problems": {"": refusal.message if refusal else str(error)}}


def _with_labels(kind: str, problems: Mapping[str, str]) -> dict[str, str]:
    labels = {PREFIX + entry.name: entry.label for entry in forms.fields(kind)}
    return {
        labels.get(name, name.replace("_s", "").replace("_", " ").capitalize()): text for name, text in problems.items()
    }


@bp.get("/<check_id>/edit")
@needs(Role.EDITOR)
def edit(check_id: str) -> Response:
    check = view_of(check_id)
    refuse_commands(check["kind"])
    if check["rules"]:
        return htmx.go_to(f"/rules/{check['rules']}/edit")
    stored = msgspec.convert({name: check[name] for name in Check.__struct_fields__}, Check)
    return _page(
        Form(
            kind=stored.kind,
            values=forms.to_form(probe(stored.kind).options_type, stored.options),
            name=stored.name,
            timing=_timing_text(stored),
            labels=", ".join(f"{name}={value}" for name, value in stored.labels.items()),
            channels=stored.channels,
            check_id=check_id,
        )
    )


@bp.post("/<check_id>/edit")
def save(check_id: str) -> Response:
    check = view_of(check_id)
    refuse_commands(check["kind"])
    form, body = _read(check["kind"], check_id)
    if request.form.get("do") == "try":
        return _page(form, trial=_trial(form, body))
    if not form.problems:
        try:
            gone = dict.fromkeys(check["labels"])
            draft = catalogue().patch(check_id, {**body, "labels": {**gone, **body["labels"]}})
            refuse_team(draft.check.team)
            refuse_wrong_expression(draft.check)
            apply(draft)
            return htmx.go_to(f"/checks/{check_id}")
        except CheckError as error:
            form.problems |= error.errors or {"name": error.message}
    return _page(form, status=422)


@bp.post("/<check_id>/trial")
def trial_of_change(check_id: str) -> Response:
    check = view_of(check_id)
    form, body = _read(check["kind"], check_id)
    return make_response(render_template("checks/_trial.html", trial=_trial(form, body)))
