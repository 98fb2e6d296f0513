"""Delivered means that the receiver answered so: real receivers of HTTP and of mail."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope

from checks.channels import KINDS as CHANNEL_KINDS
from checks.channels import Channel, ChannelError, Slack
from scheduler.notify import KINDS, TransportError, Transports, words
from scheduler.notify.webhook import signature
from scheduler.testmessage import send_test
from tests.receiver import Receiver

NOW_MS = 1_800_000_000_000
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # In a library of apprise's.


def body(**changes: Any) -> dict[str, Any]:
    incident = {
        "id": "i1",
        "title": "CRITICAL: web (http) — connection refused",
        "state": "open",
        "started_at_ms": NOW_MS - 20_000,
        "resolved_at_ms": None,
        "last_ok_ms": NOW_MS - 30_000,
        "instance": {},
        "worst": "critical",
    }
    return {
        "id": "m1",
        "event": "alert",
        "incident": incident | changes.pop("incident", {}),
        "check": {"id": "c1", "name": "web", "kind": "http", "labels": {"team": "shop"}},
        "state": "critical",
        "output": "connection refused",
        "at_ms": NOW_MS,
        "link": "/checks/c1",
        **changes,
    }


def send(channel: Channel, message: dict[str, Any], *, now_ms: int = NOW_MS) -> str:
    async def once() -> str:
        transports = Transports()
        try:
            return await transports.send(channel, message, now_ms=now_ms)
        finally:
            await transports.close()

    return asyncio.run(once())


def webhook(url: str, secret: str = "geheim") -> Channel:
    return Channel(kind="webhook", name="hook", options={"url": url, "secret": secret})


def test_every_kind_of_channel_has_a_transport() -> None:
    assert KINDS.keys() == CHANNEL_KINDS.keys()


class TestWebhook:
    def test_it_is_signed_over_the_bytes_that_arrive(self) -> None:
        with Receiver() as receiver:
            assert send(webhook(receiver.url + "/hook"), body()) == "HTTP 200 OK"
        (received,) = receiver.received
        wanted = "sha256=" + hmac.new(b"geheim", received.body, hashlib.sha256).hexdigest()
        assert received.headers["X-Henge-Signature"] == wanted == signature(received.body, "geheim")
        assert received.headers["Idempotency-Key"] == "m1"
        assert received.headers["Content-Type"] == "application/json"
        sent = json.loads(received.body)
        assert sent.items() >= body().items()
        assert sent["sent_at_ms"] == NOW_MS

    def test_without_a_secret_there_is_no_signature(self) -> None:
        with Receiver() as receiver:
            send(webhook(receiver.url, secret=""), body())
        assert "X-Henge-Signature" not in receiver.received[0].headers

    @pytest.mark.parametrize(
        ("status", "is_of_message"),
        [(500, False), (503, False), (429, False), (404, False), (401, False), (302, False), (400, True), (422, True)],
    )
    def test_what_is_no_2xx_is_not_delivered(self, status: int, is_of_message: bool) -> None:
        with Receiver(status=status, body=b"go away") as receiver, pytest.raises(TransportError) as caught:
            send(webhook(receiver.url), body())
        assert str(status) in str(caught.value)
        assert caught.value.is_of_message is is_of_message

    def test_a_redirect_is_not_followed(self) -> None:
        with Receiver(status=301) as receiver, pytest.raises(TransportError, match="redirects are not followed"):
            send(webhook(receiver.url), body())
        assert len(receiver.received) == 1

    def test_the_receivers_words_are_kept(self) -> None:
        with Receiver(status=500, body=b"the database\nis full") as receiver, pytest.raises(TransportError) as caught:
            send(webhook(receiver.url), body())
        assert "the database is full" in str(caught.value)

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=r"^127\.0\.0\.1:\d+: connection refused$"):
            send(webhook(f"http://127.0.0.1:{port}/"), body())

    def test_wrong_options_name_their_field(self) -> None:
        with pytest.raises(ChannelError) as caught:
            send(Channel(kind="webhook", name="x", options={"url": "ftp://x"}), body())
        assert caught.value.field == "options.url"


class Mailbox:
    """What an SMTP server is given; `refusal` is answered to every RCPT."""

    def __init__(self, refusals: dict[str, str] | None = None) -> None:
        self.refusals = refusals or {}
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 OK: queued as 42"


def mail(mailbox: Mailbox, to: str, message: dict[str, Any]) -> str:
    """Send through a real SMTP server in this process."""

    async def story() -> str:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(mailbox, hostname="mx.test"), "127.0.0.1", 0)
        transports = Transports()
        options = {
            "to": to,
            "sender": "henge@example.org",
            "smtp_host": "127.0.0.1",
            "smtp_port": server.sockets[0].getsockname()[1],
            "security": "none",
        }
        try:
            return await transports.send(Channel(kind="email", name="m", options=options), message, now_ms=NOW_MS)
        finally:
            await transports.close()
            server.close()
            await server.wait_closed()

    return asyncio.run(story())


class TestMail:
    def test_it_arrives(self) -> None:
        mailbox = Mailbox()
        assert "accepted" in mail(mailbox, "ann@example.org, bob@example.org", body())
        assert [envelope.rcpt_tos for envelope in mailbox.envelopes] == [["ann@example.org"], ["bob@example.org"]]
        content = mailbox.envelopes[0].content
        assert isinstance(content, bytes)
        arrived = message_from_bytes(content, policy=policy.default)
        assert isinstance(arrived, EmailMessage)
        assert arrived["Subject"] == "CRITICAL: web (http) — connection refused"
        assert arrived["From"].addresses[0].addr_spec == "henge@example.org"
        assert arrived["X-Henge-Message"] == "m1"
        text = arrived.get_content()
        for words_wanted in ("connection refused", "Since: 2027-01-15 07:59:40 UTC", "Last OK:", "/checks/c1"):
            assert words_wanted in text

    def test_a_refusal_tells_the_servers_words(self) -> None:
        with pytest.raises(TransportError, match="no such user here"):
            mail(Mailbox({"ann@example.org": "550 no such user here"}), "ann@example.org", body())

    def test_who_took_it_is_not_told_again_because_another_was_refused(self) -> None:
        mailbox = Mailbox({"bob@example.org": "550 gone"})
        answer = mail(mailbox, "ann@example.org,bob@example.org", body())
        assert "accepted" in answer
        assert "gone" in answer


class TestOtherServices:
    def test_ntfy(self) -> None:
        with Receiver(body=b"{}") as receiver:
            options = {"topic": "ops", "server": receiver.url, "token": "tk_1"}
            send(Channel(kind="ntfy", name="n", options=options), body())
        (received,) = receiver.received
        assert received.headers["Authorization"] == "Bearer tk_1"
        assert json.loads(received.body)["topic"] == "ops"

    def test_any_address_that_apprise_knows(self) -> None:
        with Receiver(body=b"{}") as receiver:
            url = receiver.url.replace("http://", "json://") + "/x"
            send(Channel(kind="apprise", name="a", options={"url": url}), body())
        assert json.loads(receiver.received[0].body)["title"] == "CRITICAL: web (http) — connection refused"

    def test_a_service_that_fails_is_not_delivered(self) -> None:
        with Receiver(status=503, body=b"{}") as receiver:
            channel = Channel(kind="apprise", name="a", options={"url": receiver.url.replace("http://", "json://")})
            with pytest.raises(TransportError, match="503"):
                send(channel, body())

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("apprise", {"url": "json://user:pass-w0rd@127.0.0.1:9/pass-w0rd/x?key=pass-w0rd"}),
            ("ntfy", {"server": "http://127.0.0.1:9", "topic": "t", "token": "pass-w0rd"}),
        ],
    )
    def test_what_went_wrong_does_not_tell_the_key_of_the_service(self, kind: str, options: dict[str, str]) -> None:
        with pytest.raises(TransportError) as caught:
            send(Channel(kind=kind, name="a", options=options), body())
        assert "pass-w0rd" not in str(caught.value)
        assert "with url" not in str(caught.value)

    def test_the_key_of_an_address_is_hidden_part_by_part(self) -> None:
        from scheduler.notify.through_apprise import without_secrets

        options = Slack(webhook_url="https://hooks.slack.com/services/T12345678/B12345678/pass-w0rd")
        said = "HTTPSConnectionPool(host='hooks.slack.com', port=443): Max retries exceeded with url: /services/T (x)"
        assert without_secrets(said, options) == "hooks.slack.com:443: (x)"
        assert without_secrets("no B12345678/pass-w0rd", options) == "no ********/********"

    def test_an_address_that_apprise_does_not_know(self) -> None:
        with pytest.raises(TransportError, match="does not know"):
            send(Channel(kind="apprise", name="a", options={"url": "nonsense://x"}), body())

    def test_slack_and_teams_addresses_are_understood(self) -> None:
        from apprise import AppriseAsset

        from checks.channels import Slack, Teams
        from scheduler.notify.through_apprise import _arguments, _service

        slack = Slack(webhook_url="https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
        teams = Teams(
            webhook_url="https://prod-84.westus.logic.azure.com:443/workflows/643e69f83c8944438d68119179a10a64"
            "/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODuebW"
        )
        for options, name in ((slack, "Slack"), (teams, "Power Automate")):
            (given,) = _arguments(options, "m1")
            assert name in str(_service(given, AppriseAsset(), name).service_name)


class TestWords:
    def test_a_late_message_says_when_it_was(self) -> None:
        text = words.text(body(), now_ms=NOW_MS + 14 * 60_000)
        assert "This message is late: it is about 2027-01-15 08:00:00 UTC, 14 min ago." in text
        assert "late" not in words.text(body(), now_ms=NOW_MS + 1_000)

    def test_a_recovery_says_what_and_how_long(self) -> None:
        message = body(
            event="resolved",
            state="ok",
            output="HTTP 200 OK",
            incident={"state": "resolved", "resolved_at_ms": NOW_MS + 3 * 3_600_000},
        )
        assert words.subject(message) == "RESOLVED: web (http) — was CRITICAL for 3 h"
        text = words.text(message, now_ms=NOW_MS)
        assert "Until: 2027-01-15 11:00:00 UTC, after 3 h" in text
        assert "Last OK" not in text

    def test_an_instance_is_named(self) -> None:
        assert "Instance: disk=/, host=a" in words.text(
            body(incident={"instance": {"host": "a", "disk": "/"}}), now_ms=NOW_MS
        )

    @pytest.mark.parametrize(
        ("seconds", "want"),
        [(0, "0 s"), (14, "14 s"), (200, "3 min 20 s"), (3_600, "1 h"), (90_000, "1 d 1 h"), (-5, "0 s")],
    )
    def test_durations(self, seconds: float, want: str) -> None:
        assert words.duration(seconds) == want


class TestTryingAChannel:
    @staticmethod
    def run(channel: Channel) -> dict[str, Any]:
        async def story() -> dict[str, Any]:
            transports = Transports()
            try:
                return await send_test(transports, channel, now_ms=NOW_MS)
            finally:
                await transports.close()

        return asyncio.run(story())

    def test_it_works(self) -> None:
        with Receiver() as receiver:
            assert self.run(webhook(receiver.url)) == {"delivered": True, "detail": "HTTP 200 OK"}
        assert json.loads(receiver.received[0].body)["event"] == "test"

    def test_a_failure_is_told_as_it_was(self) -> None:
        with Receiver(status=500) as receiver:
            answer = self.run(webhook(receiver.url))
        assert answer["delivered"] is False
        assert "HTTP 500" in answer["detail"]
