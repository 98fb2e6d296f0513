"""Steps 3 and 4 of the first set-up: a channel, and a test message that arrives."""

from __future__ import annotations

from itertools import islice
from typing import Any

from flask import Blueprint, Response, render_template, request

from appliance.bus import BusError
from appliance.state import Mutation
from checks import forms
from checks.channel_catalogue import channel_of, channel_view
from checks.channels import KINDS
from checks.errors import CheckError
from web import htmx
from web.api import channels
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.errors import Refusal, refusal_from
from web.kit import catalogue
from web.pages.channels.outcome import advice
from web.pages.channels.views import TITLES, Form, known, read_form
from web.pages.start import watching
from web.pages.start.progress import Step
from web.pages.start.views import page_of, step_done
from web.services import services

bp = Blueprint("start_telling", __name__, url_prefix="/start", template_folder="templates")

COMMONEST = ("email", "webhook", "ntfy", "slack", "teams", "apprise")
TOLD_COUNT_MAX = 1_000  # Checks that are given the new channel in one transaction.


@bp.get("/channel")
@needs(Role.ADMIN)
def choose() -> Response:
    """The ways to be told, the commonest first, and those that are there."""
    kinds = sorted(KINDS, key=lambda kind: COMMONEST.index(kind) if kind in COMMONEST else len(COMMONEST))
    return page_of(
        Step.CHANNEL,
        "start/channel.html",
        channels=[channel_view(entry) for entry in channels.documents()],
        titles=TITLES,
        kinds=[(kind, TITLES.get(kind, kind), (KINDS[kind].__doc__ or "").strip()) for kind in kinds],
    )


@bp.get("/channel/<kind>")
@needs(Role.ADMIN)
def new(kind: str) -> Response:
    values = forms.to_form(KINDS[known(kind)], {})
    return _form(Form(kind=kind, values=values, name=_suggested_name(kind)), tells_all=True)


def _suggested_name(kind: str) -> str:
    """A name that is free, so that a person who has one phone need not think of one."""
    taken = {str(entry.body["name"]) for entry in channels.documents()}
    name = TITLES.get(kind, kind).partition(" (")[0]
    return name if name not in taken else ""


def _form(form: Form, *, tells_all: bool, status: int = 200) -> Response:
    return page_of(
        Step.CHANNEL,
        "start/channel_form.html",
        status=status,
        form=form,
        title=TITLES.get(form.kind, form.kind),
        summary=(KINDS[form.kind].__doc__ or "").strip(),
        fields=forms.options_fields(KINDS[form.kind]),
        silent_count=len(_silent_checks()),
        tells_all=tells_all,
    )


def _silent_checks() -> list[str]:
    """The ids of the checks that tell nobody and may be changed here; a rule's check belongs to its file."""
    silent = (row.id for row in watching.rows() if not row.check.channels and not row.check.rules)
    return list(islice(silent, TOLD_COUNT_MAX))


@bp.post("/channel/<kind>")
@needs(Role.ADMIN)
def create(kind: str) -> Response:
    """The channel, and then, if that is ticked, the checks that tell it."""
    form, body = read_form(known(kind))
    tells_all = "tells_all" in request.form
    if not form.problems:
        try:
            channel_id = channels.create(body)
        except CheckError as error:
            form.problems |= error.errors or {"name": error.message}
        else:
            if tells_all:
                _tell(channel_id)
            step_done(Step.CHANNEL)
            return htmx.go_to("/start/test")
    return _form(form, tells_all=tells_all, status=422)


def _tell(channel_id: str) -> None:
    """Only checks of the channel's team can tell it; one that changes meanwhile is left as it is."""
    channel = channel_of(channels.get_document(channel_id).body)
    mutations: list[Mutation] = []
    for check_id in _silent_checks():
        try:
            mutations += catalogue().patch(check_id, {"channels": [channel.name]}).mutations
        except CheckError as error:
            services().log.info("check %s is not told to tell %r: %s", check_id, channel.name, error)
    if mutations:
        services().state.apply(mutations, actor=identity().actor)


@bp.get("/test")
@needs(Role.ADMIN)
def test() -> Response:
    return _test_page()


def _test_page(answers: dict[str, dict[str, Any]] | None = None) -> Response:
    """answers: what a test has brought, by channel."""
    found = [channel_view(entry) for entry in channels.documents()]
    return page_of(Step.TEST, "start/test.html", channels=found, titles=TITLES, answers=answers or {})


@bp.post("/test/<channel_id>")
@needs(Role.ADMIN)
def send(channel_id: str) -> Response:
    """Send a test message; the answer stands below the button, or without script in the page again."""
    document = channels.get_document(channel_id)
    try:
        answer = channels.send_test(document)
    except (BusError, Refusal) as error:
        refusal = refusal_from(error)
        answer = {"delivered": False, "detail": refusal.message if refusal else str(error)}
    answer["advice"] = "" if answer["delivered"] else advice(answer["detail"])
    if htmx.is_swap():
        response = Response(render_template("start/_tested.html", answer=answer, channel=channel_view(document)))
        response.headers["Cache-Control"] = "no-store"
        return response
    return _test_page({channel_id: answer})
