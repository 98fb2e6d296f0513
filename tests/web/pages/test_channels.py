"""The page of channels: what is said of a test that was not delivered, and where a form leads back to."""

from __future__ import annotations

import pytest

from tests.web.house import House, csrf_of
from web.pages.channels.outcome import advice

MAIL = 'Connection error while submitting email to "mail.example"; '
NAME = "The name of the server was not found"
SAID = {  # the detail, as real receivers have caused it: how the advice begins
    "the receiver answered 200": "",
    "apprise does not know how to use this address or option of Apprise": "",
    "127.0.0.1:1: connection refused": "Nothing listens there",
    f"{MAIL}[Errno 111] Connection refused": "Nothing listens there",
    f"{MAIL}STARTTLS extension not supported by server.": "The mail server offers no STARTTLS",
    f"{MAIL}[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)": "The other side does not speak TLS",
    "127.0.0.1:42403: TLS failed: wrong version number": "The other side does not speak TLS",
    f"{MAIL}[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable": "This machine does not trust",
    f"{MAIL}(535, b'5.7.8 Authentication credentials invalid')": "The other side does not accept",
    "(530, b'5.7.0 Authentication required', 'henge@localhost'); Sending failed.": "The other side does not accept",
    "{'nobody@example.org': (550, b'no such user')}; Sending email failed.": "The mail server does not take mail",
    f"{MAIL}[Errno -2] Name or service not known": NAME,
    "no.invalid:80: the name no.invalid is not known": NAME,
    "ntfy.sh:443: (Caused by NameResolutionError: Failed to resolve 'ntfy.sh' ([Errno -2])": NAME,
    f"{MAIL}Connection unexpectedly closed: timed out": "It did not answer in time",
    "no answer within 15 s": "It did not answer in time",
    "HTTP 401 Unauthorized: x": "The other side does not accept",
    "HTTP 404 Not Found: connection refused": "The server is there, but not this address",
    "HTTP 500 Internal Server Error: certificate": "The receiver is there and has a fault",
    "HTTP 418 I'm a teapot: timed out": "",
    "Failed to send ntfy notification to topic 't': Verification Failed., error=401.": "The other side does not accept",
    "Failed to send ntfy notification to topic 't': Page not found., error=404.": "The server is there, but not this",
    "Failed to send ntfy notification to topic 't': Internal server error., error=500.": "The receiver is there",
    "10.0.0.5:80: no route to the host": "This machine has no way",
}


@pytest.mark.parametrize(("detail", "begins"), SAID.items())
def test_a_failure_is_said_in_plain_words(detail: str, begins: str) -> None:
    said = advice(detail)
    assert said.startswith(begins)
    assert bool(said) == bool(begins)


BACK = {  # asked for: where it leads
    "": "/channels",
    "?next=/start/test": "/start/test",
    "?next=//evil.example/": "/",
    "?next=https://evil.example/": "/",
}


@pytest.mark.parametrize(("asked", "target"), BACK.items())
def test_the_form_leads_back_to_where_it_was_opened_and_nowhere_else(house: House, asked: str, target: str) -> None:
    body = {"kind": "webhook", "name": "back", "options": {"url": "http://x.example/"}}
    channel_id = house.call("POST", "/api/v1/channels", body).json["id"]
    try:
        client = house.client("editor")
        page = client.get(f"/channels/{channel_id}/edit{asked}").text
        assert f'href="{target}">Cancel' in page
        wrong = {"csrf": csrf_of(page), "next": target, "name": "back", "options.url": "x"}
        assert f'name="next" value="{target}"' in client.post(f"/channels/{channel_id}/edit", data=wrong).text
        asked_target = asked.partition("next=")[2] or "/channels"
        right = wrong | {"options.url": "http://y.example/", "next": asked_target}
        assert client.post(f"/channels/{channel_id}/edit", data=right).headers["Location"] == target
    finally:
        house.call("DELETE", f"/api/v1/channels/{channel_id}")
