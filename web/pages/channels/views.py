"""Channels: who is told, by what way, and what became of the messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from flask import Blueprint, Response, make_response, render_template, request

from appliance.bus import BusError
from checks import forms
from checks.channel_catalogue import channel_of, channel_view
from checks.channels import KINDS
from checks.errors import CheckError
from checks.sealed import HIDDEN
from web import htmx
from web.api import channels
from web.auth.guard import needs, safe_target
from web.auth.roles import Role
from web.errors import Refusal, not_found, refusal_from
from web.pages.channels.outcome import advice
from web.pages.numbered import numbered
from web.services import services

bp = Blueprint("channels", __name__, url_prefix="/channels", template_folder="templates")

PREFIX = "options."
MESSAGE_COUNT = 50
MESSAGES_SHOWN = 1_000  # The newest of all channels; the API goes further back, channel by channel.
TITLES = {
    "webhook": "Webhook",
    "email": "E-mail",
    "slack": "Slack",
    "teams": "Microsoft Teams",
    "ntfy": "ntfy (push to a phone)",
    "apprise": "Another service",
}


@dataclass(slots=True)
class Form:
    kind: str
    values: dict[str, str] = field(default_factory=dict)
    name: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    channel_id: str | None = None


@bp.get("")
def page() -> Response:
    found = [channel_view(entry) for entry in channels.documents()]
    names = {entry["id"]: entry["name"] for entry in found}
    read = services().state.read
    messages = [message for message in read.newest_messages(limit=MESSAGES_SHOWN) if message.channel in names]
    last = {channel: newest[0] for channel in names if (newest := read.newest_messages(channel=channel, limit=1))}
    return make_response(
        render_template(
            "channels/page.html",
            section="channels",
            channels=found,
            titles=TITLES,
            kinds=[(kind, TITLES.get(kind, kind), (options.__doc__ or "").strip()) for kind, options in KINDS.items()],
            users={entry["id"]: _users(entry) for entry in found},
            last=last,
            messages=numbered(messages, size=MESSAGE_COUNT),
            names=names,
            tested=request.args.get("tested", ""),
            now_ms=services().clock.now_ms(),
        )
    )


def _users(entry: dict[str, Any]) -> list[str]:
    document = channels.get_document(entry["id"])
    return channels.catalogue().users(channel_of(document.body))


def known(kind: str) -> str:
    if kind not in KINDS:
        raise not_found("kind of channel", kind)
    return kind


@bp.get("/new/<kind>")
@needs(Role.EDITOR)
def new(kind: str) -> Response:
    return _page(Form(kind=known(kind), values=forms.to_form(KINDS[kind], {})))


def _page(form: Form, status: int = 200) -> Response:
    page = render_template(
        "channels/form.html",
        section="channels",
        form=form,
        title=TITLES.get(form.kind, form.kind),
        summary=(KINDS[form.kind].__doc__ or "").strip(),
        fields=forms.options_fields(KINDS[form.kind]),
        action=f"/channels/{form.channel_id}/edit" if form.channel_id else f"/channels/new/{form.kind}",
        target=_target(),
    )
    return make_response(page, status)


def _target() -> str:
    """The page that the form was opened from, and goes back to."""
    return safe_target(request.values.get("next", "/channels"))


def read_form(kind: str, channel_id: str | None = None) -> tuple[Form, dict[str, Any]]:
    texts = {name.removeprefix(PREFIX): text for name, text in request.form.items() if name.startswith(PREFIX)}
    fields = forms.options_fields(KINDS[kind])
    options, problems = forms.options_from_form(KINDS[kind], texts)
    if channel_id is not None:  # What is left empty goes back to its default; secrets stay as they are.
        secret = {entry.name for entry in fields if entry.secret}
        options = {entry.name: None for entry in fields if entry.name not in secret} | options
        options |= {name: HIDDEN for name in secret if not texts.get(name) and _is_set(channel_id, name)}
        problems = {name: text for name, text in problems.items() if options.get(name) != HIDDEN}
    form = Form(
        kind=kind,
        values=texts,
        name=request.form.get("name", ""),
        problems={PREFIX + name: text for name, text in problems.items()},
        channel_id=channel_id,
    )
    return form, {"kind": kind, "name": form.name, "options": options}


def _is_set(channel_id: str, option: str) -> bool:
    return bool(channels.get_document(channel_id).body.get("options", {}).get(option))


@bp.post("/new/<kind>")
def create(kind: str) -> Response:
    form, body = read_form(known(kind))
    if not form.problems:
        try:
            channels.create(body)
            return htmx.go_to(_target())
        except CheckError as error:
            form.problems |= error.errors or {"name": error.message}
    return _page(form, 422)


@bp.get("/<channel_id>/edit")
@needs(Role.EDITOR)
def edit(channel_id: str) -> Response:
    stored = channel_of(channels.get_document(channel_id).body)
    values = forms.to_form(KINDS[known(stored.kind)], stored.options)
    return _page(Form(kind=stored.kind, values=values, name=stored.name, channel_id=channel_id))


@bp.post("/<channel_id>/edit")
def save(channel_id: str) -> Response:
    stored = channel_of(channels.get_document(channel_id).body)
    form, body = read_form(known(stored.kind), channel_id)
    if not form.problems:
        try:
            channels.change(channel_id, body)
            return htmx.go_to(_target())
        except CheckError as error:
            form.problems |= error.errors or {"name": error.message}
    return _page(form, 422)


@bp.post("/<channel_id>/delete")
def delete(channel_id: str) -> Response:
    channels.remove(channel_id)
    return htmx.go_to("/channels")


@bp.post("/<channel_id>/test")
def test(channel_id: str) -> Response:
    """Send a test message; the answer stands beside the button, or without script on a page of its own."""
    document = channels.get_document(channel_id)
    try:
        answer = channels.send_test(document)
    except (BusError, Refusal) as error:
        refusal = refusal_from(error)
        answer = {"delivered": False, "detail": refusal.message if refusal else str(error)}
    answer["advice"] = "" if answer["delivered"] else advice(answer["detail"])
    context = {"answer": answer, "channel": msgspec.to_builtins(document)}
    response = htmx.page_or_partial("channels/tested.html", "channels/_tested.html", section="channels", **context)
    response.headers["Cache-Control"] = "no-store"
    return response
