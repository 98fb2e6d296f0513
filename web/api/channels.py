"""Channels: the ways to reach people; their secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response

from appliance.state import Document
from checks.channel_catalogue import ChannelCatalogue, ChannelDraft, channel_of, channel_view
from web.api.bodies import body_object
from web.api.checks import refuse_team, with_team
from web.api.paging import asked_page, list_response
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.board import EVERYTHING
from web.errors import json_response, not_found
from web.services import services

bp = Blueprint("api_channels", __name__, url_prefix="/api/v1/channels")

TEST_TIMEOUT_S = 30.0


def catalogue() -> ChannelCatalogue:
    return ChannelCatalogue(services().state.read, services().secrets)


def documents() -> list[Document]:
    """By name; of the identity's team."""
    found = services().state.read.list("channel", limit=EVERYTHING)
    return sorted(
        (entry for entry in found if identity().sees_team(channel_of(entry.body).team)),
        key=lambda entry: str(entry.body["name"]).casefold(),
    )


def get_document(channel_id: str) -> Document:
    found = services().state.read.get("channel", channel_id)
    if found is None or not identity().sees_team(channel_of(found.body).team):
        raise not_found("channel", channel_id)
    return found


def _apply(draft: ChannelDraft) -> str:
    refuse_team(draft.channel.team)
    services().state.apply(list(draft.mutations), actor=identity().actor)
    return draft.id


def create(body: Mapping[str, Any]) -> str:
    """Store a channel and give its id. Raises: CheckError, Refusal."""
    return _apply(catalogue().create(with_team(dict(body))))


def change(channel_id: str, changes: Mapping[str, Any]) -> None:
    """Merge changes into a channel. Raises: CheckError, Refusal."""
    _apply(catalogue().patch(get_document(channel_id).id, changes))


def remove(channel_id: str) -> None:
    _apply(catalogue().delete(get_document(channel_id).id))


def send_test(document: Document) -> dict[str, Any]:
    """{"delivered": whether the receiver said so, "detail"}."""
    body = services().ask("scheduler", "test_channel", {"channel_id": document.id}, timeout_s=TEST_TIMEOUT_S).body
    assert isinstance(body, dict), body
    return body


@bp.get("")
def list_channels() -> Response:
    page = asked_page()
    found = documents()
    return list_response(
        [channel_view(entry) for entry in found[page.offset : page.offset + page.limit]], page, len(found)
    )


@bp.post("")
def create_channel() -> Response:
    channel_id = create(body_object())
    return json_response(channel_view(get_document(channel_id)), 201, Location=f"/api/v1/channels/{channel_id}")


@bp.get("/<channel_id>")
def get_channel(channel_id: str) -> Response:
    return json_response(channel_view(get_document(channel_id)))


@bp.patch("/<channel_id>")
def change_channel(channel_id: str) -> Response:
    change(channel_id, body_object())
    return json_response(channel_view(get_document(channel_id)))


@bp.delete("/<channel_id>")
def delete_channel(channel_id: str) -> Response:
    remove(channel_id)
    return json_response({"deleted": channel_id})


@bp.post("/<channel_id>/test")
@needs(Role.EDITOR)
def test_channel(channel_id: str) -> Response:
    """Send a test message now; 200 when the receiver took it, 502 with its words when not."""
    answer = send_test(get_document(channel_id))
    return json_response(answer, 200 if answer.get("delivered") else 502)


@bp.get("/<channel_id>/deliveries")
def list_deliveries(channel_id: str) -> Response:
    """The latest messages to this channel and what became of them."""
    document = get_document(channel_id)
    page = asked_page()
    read = services().state.read
    found = read.newest_messages(channel=document.id, limit=page.limit, offset=page.offset)
    items = [msgspec.to_builtins(message) for message in found]
    return list_response(items, page, read.message_count(channel=document.id))
