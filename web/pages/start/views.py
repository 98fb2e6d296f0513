"""Step 2 of the first set-up, what to watch, and the way through all of them: on, back, later, not at all."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, render_template, request

from appliance.bus import BusError
from checks.errors import CheckError
from checks.probes.options import OptionError
from web import htmx
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.errors import Refusal, not_found, refusal_from
from web.kit import board
from web.pages.start import sender, watching
from web.pages.start.progress import ID, KIND, Ending, Progress, Step, progress_of, stored
from web.services import services

bp = Blueprint("start", __name__, url_prefix="/start", template_folder="templates")

WATCHED_COUNT_SHOWN = 8


def progress() -> Progress | None:
    return progress_of(services().state.read.get(KIND, ID))


def unfinished() -> Step | None:
    """The step that the Overview offers to go on with, to who may."""
    found = progress()
    return found.step if found and found.ending is None and identity().may(Role.ADMIN) else None


def page_of(step: Step, name: str, *, status: int = 200, **context: Any) -> Response:
    """A page of a step, with the bar of all of them."""
    page = render_template(name, section="", step=step, steps=list(Step), **context)
    return make_response(page, status)


def store(found: Progress) -> None:
    services().state.apply([stored(found)], actor=identity().actor)


def step_done(step: Step) -> None:
    """Remember it, where a set-up is going on."""
    found = progress()
    if found and (after := found.after(step)) != found:
        store(after)


@bp.get("")
@needs(Role.ADMIN)
def resume() -> Response:
    found = progress()
    return htmx.go_to(f"/start/{found.step if found else Step.WATCH}")


@bp.post("/on/<step>")
@needs(Role.ADMIN)
def go_on(step: str) -> Response:
    """To the next step, whether something was done in this one or not."""
    if step not in set(Step):
        raise not_found("step", step)
    now = Step(step)
    step_done(now)
    return htmx.go_to(f"/start/{now.next or 'done'}")


@bp.post("/dismiss")
@needs(Role.ADMIN)
def dismiss() -> Response:
    """Not to be offered any more. The steps stay where they are, for who knows their address."""
    found = progress()
    if found and found.ending is None:
        store(Progress(found.step, Ending.DISMISSED))
    return htmx.go_to("/")


@bp.get("/done")
@needs(Role.ADMIN)
def done() -> Response:
    return make_response(render_template("start/done.html", section="", step=None, steps=list(Step)))


@bp.get("/watch")
@needs(Role.ADMIN)
def watch() -> Response:
    return _watch()


def _watch(*, status: int = 200, **context: Any) -> Response:
    found = {"looked": None, "address": "", "problems": {}, **context}
    host = request.host.rpartition(":")[0] or request.host
    line = sender.sender(sender.listening(), host.strip("[]"))
    came = _received() if line.line else {}
    return page_of(Step.WATCH, "start/watch.html", status=status, sender=line, **found, **_watched(), **came)


def _watched() -> dict[str, Any]:
    rows = watching.rows()
    return {
        "watched_etag": str(board().view().revision),
        "rows": rows[:WATCHED_COUNT_SHOWN],
        "row_count": len(rows),
        "machine": next((row for row in rows if row.check.kind == "host"), None),
    }


def _received() -> dict[str, Any]:
    found = sender.received(services())
    refused_ms = found["refusal"]["at_ms"] if found["refusal"] else 0
    return {"received": found, "received_etag": f"{found['points']}-{found['series']}-{refused_ms}"}


def _unless_same(etag: str, partial: str, context: dict[str, Any]) -> Response:
    """What polls is replaced only when it says something new: else it would take the focus from a link in it, and be
    read aloud again."""
    if (same := htmx.unchanged(etag)) is not None:
        return same
    response = make_response(render_template(partial, **context))
    response.set_etag(etag)
    return response


@bp.get("/watched")
@needs(Role.ADMIN)
def watched() -> Response:
    """What is watched so far, with how it stands; polled by its own partial."""
    context = _watched()
    return _unless_same(context["watched_etag"], "start/_watched.html", context)


@bp.get("/received")
@needs(Role.ADMIN)
def received() -> Response:
    """What has come from senders so far; polled by its own partial."""
    context = _received()
    return _unless_same(context["received_etag"], "start/_received.html", context)


@bp.post("/machine")
@needs(Role.ADMIN)
def watch_machine() -> Response:
    """Once: a second click finds the check there."""
    if not any(row.check.kind == "host" for row in watching.rows()):
        watching.create(watching.MACHINE)
    return htmx.go_to("/start/watch")


@bp.post("/look")
@needs(Role.ADMIN)
def look() -> Response:
    """What is found at an address, with a box for each check that suits it."""
    text = request.form.get("address", "")
    problems: dict[str, str] = {}
    looked = None
    try:
        looked = watching.look(text)
    except OptionError as error:
        problems["address"] = error.message
    except (BusError, Refusal) as error:
        refusal = refusal_from(error)
        problems["address"] = f"It could not be looked at: {refusal.message if refusal else error}."
    if htmx.is_swap():
        return make_response(render_template("start/_looked.html", looked=looked, problems=problems))
    return _watch(looked=looked, address=text[:2_048], problems=problems, status=422 if problems else 200)


@bp.post("/checks")
@needs(Role.ADMIN)
def create() -> Response:
    """The ticked checks."""
    values = request.form.getlist("check")
    problem = "" if values else "Nothing was ticked: tick what shall be watched, or go on without."
    if not problem:
        try:
            watching.create_ticked(values)
        except CheckError as error:
            problem = f"Not created: {error.message}"
    if problem:
        return _watch(problems={"checks": problem}, status=422)
    return htmx.go_to("/start/watch")
