"""Mail, chats and pushes through apprise, in threads of our own: it blocks, and it is imported when first needed.

Delivered means that the service answered so: apprise's result is a success only then (250 from an SMTP server, 2xx
from a service). Its log of the attempt says what was answered otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from checks.channels import Apprise, ChannelOptions, Email, Ntfy, Slack, Teams
from checks.probes.options import one_line
from checks.sealed import HIDDEN
from scheduler.notify import ANSWER_CHARACTERS_MAX, TransportError, words

if TYPE_CHECKING:
    import apprise

THREADS_COUNT = 8  # Channels of apprise that may be slow at once; each waits 15 s for an answer at most.
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 15.0
WHOLE_TIMEOUT_S = 60.0  # A mail server takes several answers. Past this the thread is left alone.
SOCKET_MARK = "Socket Exception: "  # Begins the line in which apprise keeps the words of a mail server.
POOL = re.compile(
    r"HTTPS?ConnectionPool\(host='(?P<host>[^']*)', port=(?P<port>\d+)\): Max retries exceeded with url: \S+ "
)
SECRET_CHARACTERS_MIN = 5  # Shorter parts of an address are words such as "bot".
NOTIFY_TYPES = {"ok": "success", "warning": "warning", "critical": "failure", "unknown": "warning"}


class Apprises:
    """One for all channels of its kinds."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS_COUNT, thread_name_prefix="apprise")

    async def send(self, options: ChannelOptions, body: Mapping[str, Any], *, now_ms: int) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(WHOLE_TIMEOUT_S):
                return await loop.run_in_executor(self._threads, _send, options, dict(body), now_ms)
        except TimeoutError as error:
            raise TransportError(f"no answer within {WHOLE_TIMEOUT_S:g} s") from error

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _send(options: ChannelOptions, body: Mapping[str, Any], now_ms: int) -> str:
    """Runs in a thread. Raises: TransportError."""
    import apprise

    _silence(logging.getLogger("apprise"))
    asset = apprise.AppriseAsset(
        app_id="Henge",
        app_desc="Henge",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        secure_logging=True,
    )
    accepted, refused = [], []
    for service in [_service(given, asset, type(options).__name__) for given in _arguments(options, str(body["id"]))]:
        door = apprise.Apprise(asset=asset)
        door.add(service)
        result = door.notify(
            title=words.subject(body),
            body=words.text(body, now_ms=now_ms),
            notify_type=NOTIFY_TYPES.get(str(body["state"]), "info"),
            body_format="text",
            log_level=logging.DEBUG,
        )
        if result:
            accepted.append(service.service_name)
        else:
            refused.append(without_secrets(_what_went_wrong(result), options))
    if not accepted:
        raise TransportError("; ".join(dict.fromkeys(refused)))
    # Some took it: trying again would tell those a second time, once every five minutes.
    return f"{accepted[0]} accepted it" + (f", but: {'; '.join(refused)}" if refused else "")


def _silence(logger: logging.Logger) -> None:
    """Let apprise write down all that it is answered, for its results, but nothing of it into our log."""
    logger.setLevel(logging.DEBUG)
    logger.propagate = False


def _service(given: dict[str, Any] | str, asset: apprise.AppriseAsset, kind: str) -> Any:
    """Apprise's object for one address. Raises: TransportError, if apprise does not take it."""
    import apprise

    if isinstance(given, dict):
        given = {**given, "cto": CONNECT_TIMEOUT_S, "rto": ANSWER_TIMEOUT_S}
    service = apprise.Apprise.instantiate(given, asset=asset, suppress_exceptions=True)
    if service is None:
        raise TransportError(f"apprise does not know how to use this address or option of {kind}")
    return service


def _arguments(options: ChannelOptions, message_id: str) -> list[dict[str, Any] | str]:
    """What apprise makes its objects of; one for each receiver of a mail, so that each has an answer of its own."""
    match options:
        case Email():
            mail = {
                "schema": "mailtos" if options.security != "none" else "mailto",
                "host": options.smtp_host,
                "smtp_host": options.smtp_host,
                "port": options.smtp_port,
                "secure_mode": {"none": "insecure", "starttls": "starttls", "tls": "ssl"}[options.security],
                "user": options.username or None,
                "password": options.password or None,
                "from_addr": options.sender,
                "format": "text",
                "headers": {"X-Henge-Message": message_id},
            }
            return [{**mail, "targets": [address.strip()]} for address in options.to.split(",")]
        case Slack() | Teams():
            return [options.webhook_url]
        case Ntfy():
            scheme, _, place = options.server.partition("://")
            login = f"?auth=token&token={quote(options.token, safe='')}" if options.token else ""
            return [f"{'ntfys' if scheme == 'https' else 'ntfy'}://{place.rstrip('/')}/{options.topic}{login}"]
        case Apprise():
            return [options.url]
    raise AssertionError(options)


def without_secrets(text: str, options: ChannelOptions) -> str:
    """Words that everybody may read: a library names the address that it asked, and in that stands the key."""
    text = POOL.sub(r"\g<host>:\g<port>: ", text)
    for secret in sorted(_secrets(options), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(options: ChannelOptions) -> set[str]:
    """What a text might repeat of the secret options: whole, or part by part for an address."""
    match options:
        case Email():
            given = {options.password}
        case Ntfy():
            given = {options.token}
        case Slack() | Teams():
            given = set(re.split(r"[/?&=]+", options.webhook_url.partition("://")[2])[1:])
        case Apprise():
            parts = re.split(r"[/@:?&=]+", options.url.partition("://")[2])
            given = {part for part in parts if "." not in part}  # Names of hosts help to find the fault.
        case _:
            given = set()
    return {form for part in given if len(part) >= SECRET_CHARACTERS_MIN for form in (part, unquote(part))}


def _what_went_wrong(result: Any) -> str:
    """The service's own words, as apprise wrote them into the log of the attempt."""
    entries = [entry for service in result for attempt in service for entry in attempt]
    texts = [
        str(entry.message).removeprefix(SOCKET_MARK)
        for entry in entries
        if entry.level in ("WARNING", "ERROR", "CRITICAL") or str(entry.message).startswith(SOCKET_MARK)
    ]
    lines = dict.fromkeys(one_line(text, characters_max=ANSWER_CHARACTERS_MAX) for text in texts)
    return "; ".join(line for line in lines if line) or "the service did not accept the message"
