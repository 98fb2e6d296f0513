"""Why a test message was not delivered, in words for who set the channel up. Pure.

The answers of receivers, of SMTP servers and of apprise are kept as they are and shown beside it: this only says what
to look at first.
"""

from __future__ import annotations

import re

# The first that fits counts: an answer of HTTP may hold any words, so its status is looked at before them.
ADVICE = (
    (
        r"^HTTP 40[13]\b|error=40[13]\b|\(53[045], ",
        "The other side does not accept the user, the password or the token.",
    ),
    (
        r"^HTTP (404|410)\b|error=(404|410)\b",
        "The server is there, but not this address: are the path, the topic or the webhook right?",
    ),
    (r"^HTTP 5\d\d\b|error=5\d\d\b", "The receiver is there and has a fault of its own: its log says more."),
    (r"^HTTP \d", ""),
    (r"\(55\d, ", "The mail server does not take mail for this receiver or from this sender."),
    (
        r"Failed to resolve|Name or service not known|the name \S+ is not known",
        "The name of the server was not found: is it spelled right, and does this machine reach a name server?",
    ),
    (r"[Cc]onnection refused", "Nothing listens there: is the port right, and does the service run?"),
    (
        r"(?i)wrong.version.number",
        "The other side does not speak TLS on this port: is it another one, http:// or, for mail, another security?",
    ),
    (
        r"STARTTLS extension not supported",
        "The mail server offers no STARTTLS here: choose tls with port 465, or none on a network that you trust.",
    ),
    (
        r"(?i)certificate",
        "This machine does not trust the server's certificate: is it for this name, valid, and signed by who is known?",
    ),
    (
        r"no answer within|timed out",
        "It did not answer in time: is the port right, or does a firewall keep this machine out?",
    ),
    (r"(?i)no route|unreachable", "This machine has no way to that network."),
)


def advice(detail: str) -> str:
    """What to look at first, in a sentence; "" when the detail says it itself."""
    return next((text for pattern, text in ADVICE if re.search(pattern, detail)), "")
