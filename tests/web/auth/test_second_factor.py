"""The second factor: codes by RFC 6238, taken once, throttled; recovery codes; turned on and taken away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from appliance.cli import henge
from appliance.secrets import SecretBox, SecretError
from tests.web.house import PASSWORD, House, csrf_of
from web.auth import totp
from web.auth.roles import Role
from web.auth.second_factor import HALF_LIFETIME_MS, RECOVERY_COUNT, SecondFactor
from web.auth.throttle import FREE_COUNT
from web.auth.users import NewUser, UserChange
from web.draw.qr import qr

NAME = "tina totp"
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890"
RFC_6238_B = {  # Appendix B, SHA-1: its codes have 8 digits, ours are their last 6.
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
NOW_MS = 1_700_000_010_000


@pytest.mark.parametrize(("at_s", "code"), RFC_6238_B.items())
def test_codes_are_those_of_the_rfc(at_s: int, code: str) -> None:
    assert totp.code_at(RFC_SECRET, at_s // 30) == code[-6:]
    assert totp.matching_step(RFC_SECRET, f"{code[-6:-3]} {code[-3:]}", at_s * 1000) == at_s // 30


def test_one_step_beside_is_taken_two_are_not() -> None:
    step = NOW_MS // totp.STEP_MS
    taken = [
        beside
        for beside in range(-3, 4)
        if totp.matching_step(RFC_SECRET, totp.code_at(RFC_SECRET, step + beside), NOW_MS) is not None
    ]
    assert taken == [-1, 0, 1]
    for wrong in ("", "12345", "1234567", "abcdef", "１２３４５６", "0" * 10_000):
        assert totp.matching_step(RFC_SECRET, wrong, NOW_MS) is None


@pytest.fixture
def tina(house: House) -> Iterator[str]:
    """The id of an account of its own for each test."""
    users = house.app.extensions["henge_auth"].users
    user = users.create(NewUser(name=NAME, password=PASSWORD, role=Role.VIEWER), actor="test")
    yield user.id
    found = users.get(user.id)
    if found is not None:
        users.delete(found, actor="test")


@pytest.fixture
def factor(house: House) -> SecondFactor:
    found = house.app.extensions["henge_auth"].second_factor
    assert isinstance(found, SecondFactor)
    return found


def enrolled(factor: SecondFactor, user_id: str, now_ms: int = NOW_MS) -> tuple[str, list[str]]:
    """(secret, recovery codes) of a factor whose first code was that of now_ms."""
    secret = totp.new_secret()
    codes = factor.enrol(user_id, secret, code(secret, now_ms), now_ms=now_ms, actor="test")
    assert codes is not None
    return secret, codes


def code(secret: str, now_ms: int) -> str:
    return totp.code_at(secret, now_ms // totp.STEP_MS)


def test_a_code_works_once_and_an_older_one_not_after_it(factor: SecondFactor, tina: str) -> None:
    secret, _ = enrolled(factor, tina)
    later_ms = NOW_MS + totp.STEP_MS
    assert not factor.take(tina, code(secret, NOW_MS), now_ms=NOW_MS, actor="t"), "the code of the enrolment"
    assert factor.take(tina, code(secret, later_ms), now_ms=later_ms, actor="t")
    assert not factor.take(tina, code(secret, later_ms), now_ms=later_ms, actor="t")
    assert not factor.take(tina, code(secret, NOW_MS), now_ms=later_ms, actor="t")


def test_recovery_codes_work_once_each_and_are_stored_as_hashes(house: House, factor: SecondFactor, tina: str) -> None:
    secret, codes = enrolled(factor, tina)
    assert len(set(codes)) == RECOVERY_COUNT
    stored = str(factor.of(tina))
    assert not any(form in stored for recovery in codes for form in (recovery, recovery.replace("-", "")))
    assert secret not in stored
    assert factor.take(tina, f" {codes[3].upper()} ", now_ms=NOW_MS, actor="web")
    assert not factor.take(tina, codes[3], now_ms=NOW_MS, actor="web")
    assert factor.take(tina, codes[4].replace("-", ""), now_ms=NOW_MS, actor="web")
    newest, *_, oldest = house.services.state.read.audit(kind="second_factor", id=tina)
    assert oldest.after == {"secret": "(hidden)", "last_step": NOW_MS // totp.STEP_MS, "recovery": "(hidden)"}
    assert newest.after is not None
    assert newest.after["recovery"] == "(hidden, changed)"


def test_half_a_log_in_ends_with_time_and_with_another_password(house: House, factor: SecondFactor, tina: str) -> None:
    users = house.app.extensions["henge_auth"].users
    half = factor.half(users.get(tina), now_ms=NOW_MS)
    assert factor.user_id_of(half, now_ms=NOW_MS + HALF_LIFETIME_MS) == tina
    assert factor.user_id_of(half, now_ms=NOW_MS + HALF_LIFETIME_MS + 1) is None
    assert factor.user_id_of(half, now_ms=NOW_MS - 1) is None
    for forged in ("", "1:", half[:-2], factor.pending("half"), house.services.secrets.seal("half:{}")):
        assert factor.user_id_of(forged, now_ms=NOW_MS) is None
    users.change(users.get(tina), UserChange(password="another long password"), actor="test")
    assert factor.user_id_of(half, now_ms=NOW_MS) is None


def test_with_another_key_file_recovery_codes_still_work(
    house: House, factor: SecondFactor, tina: str, tmp_path: Path
) -> None:
    secret, codes = enrolled(factor, tina)
    moved = SecondFactor(house.services.state, SecretBox(tmp_path))
    later_ms = NOW_MS + totp.STEP_MS
    with pytest.raises(SecretError):
        moved.take(tina, code(secret, later_ms), now_ms=later_ms, actor="t")
    assert moved.take(tina, codes[0], now_ms=later_ms, actor="t")


def field(page: str, name: str) -> str:
    """The value of the last field of that name; the head of the page has a form of its own."""
    found = re.findall(f'name="{name}" value="([^"]*)"', page)
    assert found, page[:2000]
    return str(found[-1])


def begin(house: House) -> tuple[FlaskClient, str]:
    """A browser that has said the password, and the page that came."""
    client = house.app.test_client()
    data = {"name": NAME, "password": PASSWORD, "csrf": csrf_of(client.get("/login").text), "next": "/explore"}
    return client, client.post("/login", data=data).text


def say(client: FlaskClient, page: str, text: str) -> tuple[int, str, str]:
    """(status, where it leads, page) of the form with the code."""
    data = {"csrf": csrf_of(page), "half": field(page, "half"), "next": field(page, "next"), "code": text}
    answer = client.post("/login/code", data=data)
    return answer.status_code, answer.headers.get("Location", ""), answer.text


def test_it_is_turned_on_asked_for_and_taken_away_on_the_pages(house: House, tina: str) -> None:
    client, _ = begin(house)
    page = client.get("/account/second-factor").text
    secret = re.search(r'id="totp-secret">([A-Z2-7]{32})<', page)
    assert secret
    assert f"otpauth://totp/Henge%3Atina%20totp?secret={secret[1]}&amp;issuer=Henge" in page
    url = totp.otpauth_url(secret[1], NAME, "Henge")
    assert qr(url, label="QR code with the secret that stands below it as text") in page
    now_ms = house.services.clock.now_ms()
    sent = {
        "csrf": csrf_of(page),
        "pending": field(page, "pending"),
        "current": PASSWORD,
        "code": code(secret[1], now_ms),
    }
    for wrong in ({"current": "not mine"}, {"code": "000000x"}, {"pending": "1:forged"}):
        assert client.post("/account/second-factor", data=sent | wrong).status_code == 422
    shown = client.post("/account/second-factor", data=sent).text
    codes = re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", shown)
    assert len(codes) == RECOVERY_COUNT
    assert "10 recovery codes are left" in client.get("/account").text
    assert not any(recovery in client.get("/account/second-factor").text for recovery in codes)

    other, asked = begin(house)
    assert "Six digits from your app" in asked
    assert other.get("/").status_code == 303, "the password alone opened the door"
    assert say(other, asked, codes[0])[:2] == (303, "/explore")
    assert other.get("/").status_code == 200

    assert client.post("/account/second-factor/remove", data={"csrf": sent["csrf"], "current": "no"}).status_code == 422
    gone = client.post("/account/second-factor/remove", data={"csrf": sent["csrf"], "current": PASSWORD})
    assert gone.status_code == 303
    assert begin(house)[0].get("/").status_code == 200


def test_guessing_codes_is_slowed_down(house: House, factor: SecondFactor, tina: str) -> None:
    _, codes = enrolled(factor, tina)
    client, page = begin(house)
    statuses = [say(client, page, f"wrong {index}")[0] for index in range(FREE_COUNT + 1)]
    assert statuses == [401] * FREE_COUNT + [429]
    assert say(client, page, codes[0])[0] == 429, "a right code jumped the queue"
    assert "Wait" in say(*begin(house), codes[0])[2], "the password again gave new tries"


def test_an_administrator_takes_it_away(house: House, factor: SecondFactor, tina: str) -> None:
    enrolled(factor, tina)
    admin = house.client("admin")
    page = admin.get(f"/account/users/{tina}").text
    path = f"/account/users/{tina}/second-factor/remove"
    assert path in page
    assert admin.post(path, data={"csrf": csrf_of(page)}).status_code == 303
    assert factor.of(tina) is None
    assert begin(house)[0].get("/").status_code == 200
    assert house.call("DELETE", f"/api/v1/users/{tina}/second-factor").status_code == 404
    enrolled(factor, tina)
    assert house.call("DELETE", f"/api/v1/users/{tina}/second-factor").status_code == 200


def test_a_deleted_account_leaves_no_secret(house: House, factor: SecondFactor, tina: str) -> None:
    enrolled(factor, tina)
    assert house.call("DELETE", f"/api/v1/users/{tina}").status_code == 200
    assert factor.of(tina) is None


def test_the_command_takes_it_away(
    house: House, factor: SecondFactor, tina: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.cli.running_pid", lambda data_dir: 1)  # The appliance of this test is threads.
    data = ["--data", str(house.services.config.data_dir)]
    enrolled(factor, tina)
    done = CliRunner().invoke(henge, ["user", "reset-second-factor", NAME.upper(), *data])
    assert (done.exit_code, done.output) == (0, f"took the second factor of {NAME} away\n")
    assert factor.of(tina) is None
    for name, text in ((NAME, "has no second factor"), ("nobody", "there is no user 'nobody'")):
        assert text in str(CliRunner().invoke(henge, ["user", "reset-second-factor", name, *data]).exception)


def test_a_token_has_none(house: House) -> None:
    assert house.call("GET", "/account/second-factor").status_code == 403
