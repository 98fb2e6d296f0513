"""The options of a `tcp` check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from checks.probes.options import CriticalSeconds, Host, Options, Port, WarningSeconds, limit_problems


class TcpOptions(Options, frozen=True):
    host: Host
    port: Port
    send: Annotated[
        str,
        Meta(
            max_length=4096,
            description=r"Sent after connecting; \r \n \t \\ and \x00 are understood",
            extra={"placeholder": r"PING\r\n"},
        ),
    ] = ""
    expect: Annotated[
        str, Meta(max_length=4096, description="Text that must come back", extra={"placeholder": "PONG"})
    ] = ""
    tls: Annotated[bool, Meta(description="Speak TLS from the first byte")] = False
    verify_tls: Annotated[bool, Meta(description="The certificate must be valid for the name")] = True
    server_name: Annotated[str, Meta(max_length=253, description="Name asked for in TLS, when it is not the host")] = ""
    warning_s: WarningSeconds = None
    critical_s: CriticalSeconds = None

    def problems(self) -> Iterator[tuple[str, str]]:
        for field in ("send", "expect"):
            try:
                unescape(getattr(self, field))
            except ValueError as error:
                yield field, str(error)
        yield from limit_problems(self.warning_s, self.critical_s)


def unescape(text: str) -> bytes:
    r"""The bytes of a text in which \r, \n, \t, \0, \\ and \xHH stand for single bytes; all else is UTF-8.

    Raises: ValueError, naming the escape.
    """
    out = bytearray()
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character != "\\":
            out += character.encode()
            continue
        code = text[position : position + 1]
        position += 1
        single = {"r": 13, "n": 10, "t": 9, "0": 0, "\\": 92}.get(code)
        if single is not None:
            out.append(single)
        elif code == "x" and len(text[position : position + 2].strip()) == 2:
            try:
                out.append(int(text[position : position + 2], 16))
            except ValueError:
                raise ValueError(f"\\x{text[position : position + 2]} is not two hexadecimal digits") from None
            position += 2
        else:
            raise ValueError(f"\\{code} is not known; write \\\\ for a backslash")
    return bytes(out)
