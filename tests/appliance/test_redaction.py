"""What looks like a secret is taken out of a text for strangers, and the rest can still be read."""

from __future__ import annotations

import pytest

from appliance.redaction import LINE_CHARACTERS_MAX, REMOVED, redacted

CANARY = "hunter2"
GONE = {  # name: a line with the canary, and what is still to be read of it
    "a header": (f"GET / Authorization: Basic {CANARY}aGVsbG8=", "GET / Authorization: "),
    "a header in a dict": (f"{{'Authorization': 'Bearer {CANARY}', 'Host': 'a.example'}}", "'Host': 'a.example'"),
    "a cookie": (f"Cookie: henge_session={CANARY}; theme=dark", "Cookie: "),
    "a token's header": (f"X-Auth-Token: {CANARY}", "X-Auth-Token: "),
    "user and password in an address": (f"cannot reach ftp://bob:{CANARY}@files.example", "files.example"),
    "the path of a webhook": (f"POST https://hooks.example/services/T1/{CANARY} gave 500", "gave 500"),
    "a parameter of an address": (f"https://api.example?key={CANARY} timed out", "timed out"),
    "a parameter of a path of ours": (f"/render?target=a&token={CANARY} 200", "/render?target="),
    "a push check": (f"POST /push/{CANARY} 200", "POST /push/"),
    "JSON": (f'{{"password": "{CANARY} and more", "host": "db"}}', '"host": "db"'),
    "JSON in JSON": (f'{{"body": "{{\\"token\\": \\"{CANARY}\\", \\"x\\": 1}}"}}', '{"body": '),
    "an assignment": (f"SMTP_PASSWORD={CANARY} HOME=/root", "HOME=/root"),
    "TOML": (f'api_key = "{CANARY}"', "api_key = "),
    "a quote within": (f"{{'client_secret': 'a\\'{CANARY}', 'x': 1}}", "'x': 1"),
    "a token of Henge": (f"henge_{CANARY}Zm9vYmFyZm9vYmFy is unknown", "is unknown"),
    "a random word": (f"the answer held Zm9v{CANARY}YmFyQUJD12xy", "the answer held"),
    "a hexadecimal word": ("id 0123456789abcdef0123456789abcdef end", "id "),
    "behind a very long line": (f"{'a ' * LINE_CHARACTERS_MAX}{CANARY}", "[cut]"),
}


@pytest.mark.parametrize(("line", "stays"), GONE.values(), ids=GONE.keys())
def test_secrets_go(line: str, stays: str) -> None:
    found = redacted(f"before\n{line}\nafter")
    assert CANARY not in found
    assert "0123456789abcdef" not in found
    assert stays in found
    assert found.startswith("before\n")
    assert found.endswith("\nafter")


STAYS = (
    '  File "/srv/henge/tsdb/store/engine.py", line 120, in append',
    "ValueError: cannot reshape array of size 12 into shape (5,)",
    "2026-11-24 05:00:00 error store: 12 frames of the log in quarantine",
    "the disk is full: 0 bytes are free below /var/lib/henge/samples/blocks/0000000012-2h-00000001.block",
    "check 0198f2c0-7a55-7bb3-9a5e-1c2d3e4f5a6b is late by 12.5 s",
    "listening on http://127.0.0.1:8420",
)


@pytest.mark.parametrize("line", STAYS)
def test_what_helps_to_find_a_fault_stays(line: str) -> None:
    assert redacted(line) == line


def test_known_secrets_go_wherever_they_stand() -> None:
    assert redacted("x swordfish-y swordfish", ["swordfish", "swordfish-y", "x"]) == f"x {REMOVED} {REMOVED}"
