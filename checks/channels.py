"""Channels as people write them: the kinds, their typed options, and what of them is secret.

Sending is the scheduler's; the page, the API and the command line need only what stands here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from checks.model import DEFAULT_TEAM

SECRET = {"secret": True}  # In Meta.extra: sealed at rest, never shown again, never exported.

Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+", description="Address, beginning with https://")]


class Webhook(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Signed JSON to an address of yours."""

    url: Url
    secret: Annotated[
        str, msgspec.Meta(description="Key of the HMAC-SHA256 signature in X-Henge-Signature", extra=SECRET)
    ] = ""


class Email(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A mail through your SMTP server."""

    to: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^@\s,]+@[^@\s,]+(\s*,\s*[^@\s,]+@[^@\s,]+)*$",
            description="Who receives it; several with commas",
        ),
    ]
    sender: Annotated[str, msgspec.Meta(description="From address")] = "henge@localhost"
    smtp_host: Annotated[str, msgspec.Meta(min_length=1, description="Name of the mail server")] = "localhost"
    smtp_port: Annotated[int, msgspec.Meta(ge=1, le=65_535, description="25, 587 with STARTTLS, 465 with TLS")] = 587
    security: Annotated[
        Literal["none", "starttls", "tls"], msgspec.Meta(description="How the connection is encrypted")
    ] = "starttls"
    username: Annotated[str, msgspec.Meta(description="Empty: no log-in")] = ""
    password: Annotated[str, msgspec.Meta(description="Of that user", extra=SECRET)] = ""


class Slack(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A message in a Slack channel."""

    webhook_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^https://hooks\.slack\.com/services/", description="Incoming webhook of the channel", extra=SECRET
        ),
    ]


class Teams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A message in a Microsoft Teams channel."""

    webhook_url: Annotated[
        str, msgspec.Meta(pattern=r"^https://", description="Address of the workflow's webhook", extra=SECRET)
    ]


class Ntfy(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A push message to a phone, through ntfy.sh or your own ntfy server."""

    topic: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Topic the phone subscribes to")]
    server: Url = "https://ntfy.sh"
    token: Annotated[str, msgspec.Meta(description="Access token, when the topic asks for one", extra=SECRET)] = ""


class Apprise(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Any other service that apprise knows, by its address."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[a-z0-9]+://", description="Such as pover://user@token, tgram://bot/chat", extra=SECRET
        ),
    ]


ChannelOptions = Webhook | Email | Slack | Teams | Ntfy | Apprise

KINDS: dict[str, type[ChannelOptions]] = {
    "webhook": Webhook,
    "email": Email,
    "slack": Slack,
    "teams": Teams,
    "ntfy": Ntfy,
    "apprise": Apprise,
}


class Channel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A way to reach people. Names are unique per team."""

    kind: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120, description="Unique within the team")]
    options: dict[str, Any] = {}
    labels: dict[str, str] = {}
    paused: bool = False

    @property
    def team(self) -> str:
        return self.labels.get("team", DEFAULT_TEAM)


class ChannelError(ValueError):
    """A channel that cannot be as it is written; field names the part, such as options.url."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def options_of(channel: Channel) -> ChannelOptions:
    """The typed options. Raises: ChannelError, naming the field."""
    if channel.kind not in KINDS:
        raise ChannelError(f"kind {channel.kind!r} is not one of {', '.join(KINDS)}", "kind")
    try:
        return msgspec.convert(channel.options, KINDS[channel.kind])
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ChannelError(reason, "options" + path.rstrip("`")) from error


def secret_fields(kind: str) -> frozenset[str]:
    """The options of a kind that are sealed at rest."""
    hints = get_type_hints(KINDS[kind], include_extras=True)
    return frozenset(
        name
        for name, hint in hints.items()
        for note in getattr(hint, "__metadata__", ())
        if isinstance(note, msgspec.Meta) and note.extra == SECRET
    )
