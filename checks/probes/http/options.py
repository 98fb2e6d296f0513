"""The options of an `http` check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from yarl import URL

from checks.probes.http.expectation import JsonPathError, StatusError, parse_json_path, parse_statuses
from checks.probes.options import CriticalSeconds, Options, WarningSeconds, limit_problems

BODY_BYTES_MAX = 16 * 2**20
HEADER_COUNT_MAX = 50
NOT_IN_HOST = re.compile(r"""[\s"'<>\\^`{|}]""")


class HttpOptions(Options, frozen=True):
    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2048,
            description="The address to ask, with http:// or https://",
            extra={"placeholder": "https://example.org/health"},
        ),
    ]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    expected_status: Annotated[
        str, Meta(max_length=200, description="Status codes that are well: single ones and ranges, such as 200-299,401")
    ] = "200-399"
    keyword: Annotated[str, Meta(max_length=1000, description="Text that the answer must contain")] = ""
    keyword_absent: Annotated[bool, Meta(description="Turn it round: the text must not be there")] = False
    json_path: Annotated[
        str,
        Meta(max_length=500, description="A place in a JSON answer", extra={"placeholder": "$.status.checks[0].ok"}),
    ] = ""
    json_operator: Annotated[
        Literal["exists", "==", "!=", ">", ">=", "<", "<=", "contains"],
        Meta(description="How to compare what is there"),
    ] = "exists"
    json_value: Annotated[str, Meta(max_length=1000, description="What to compare it with")] = ""
    warning_s: WarningSeconds = None
    critical_s: CriticalSeconds = None
    headers: Annotated[
        dict[str, str],
        Meta(max_length=HEADER_COUNT_MAX, description="Sent with the request", extra={"group": "request"}),
    ] = msgspec.field(default_factory=dict)
    body: Annotated[
        str, Meta(max_length=65_536, description="Sent with the request", extra={"multiline": True, "group": "request"})
    ] = ""
    username: Annotated[str, Meta(max_length=200, description="For HTTP basic auth", extra={"group": "request"})] = ""
    password: Annotated[
        str, Meta(max_length=200, description="For HTTP basic auth", extra={"secret": True, "group": "request"})
    ] = ""
    follow_redirects: Annotated[bool, Meta(description="Go where a 3xx answer points", extra={"group": "request"})] = (
        True
    )
    redirect_count_max: Annotated[
        int, Meta(ge=1, le=20, description="Redirects in a row before it is a failure", extra={"group": "request"})
    ] = 10
    verify_tls: Annotated[
        bool, Meta(description="The certificate must be valid for the name", extra={"group": "request"})
    ] = True
    proxy: Annotated[
        str,
        Meta(
            max_length=2048,
            description="Ask through this HTTP proxy",
            extra={"placeholder": "http://proxy:3128", "group": "request"},
        ),
    ] = ""
    body_bytes_max: Annotated[
        int,
        Meta(ge=0, le=BODY_BYTES_MAX, description="Bytes of the answer to read at most", extra={"group": "request"}),
    ] = 2**20

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from url_problems("url", self.url, ("http", "https"))
        if "@" in self.url.partition("://")[2].partition("/")[0]:
            yield "url", "an address is shown to everybody; give the user and password in their own fields"
        if self.proxy:
            yield from url_problems("proxy", self.proxy, ("http", "https"))
        try:
            parse_statuses(self.expected_status)
        except StatusError as error:
            yield "expected_status", str(error)
        if self.json_path:
            try:
                parse_json_path(self.json_path)
            except JsonPathError as error:
                yield "json_path", str(error)
        if self.json_operator in (">", ">=", "<", "<="):
            try:
                float(self.json_value)
            except ValueError:
                yield "json_value", f"{self.json_value!r} is not a number, which {self.json_operator} needs"
        if self.method == "HEAD" and (self.keyword or self.json_path):
            yield "method", "HEAD brings no body to look for a keyword or a JSON path in; use GET"
        for name, value in self.headers.items():
            if not name or any(c in name + value for c in "\r\n\0") or not name.isascii() or " " in name or ":" in name:
                yield "headers", f"{name!r}: a header is a name without blanks and a value on one line"
        yield from limit_problems(self.warning_s, self.critical_s)


def url_problems(field: str, text: str, schemes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What is wrong with an address, if anything."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        yield field, f"{text!r} contains a line feed or another character that cannot be seen; leave it out"
        return
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        yield field, f"{text!r} is not an address: {error}"
        return
    if url.scheme not in schemes:
        yield field, f"{text!r} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    elif not url.host:
        yield field, f"{text!r} names no host"
    elif found := NOT_IN_HOST.search(url.host):
        yield field, f"{text!r} has {found[0]!r} in its host; a host is a name or an IP address"
    elif port is not None and not 1 <= port <= 65_535:
        yield field, f"{text!r} has port {port}; ports are 1 to 65535"
