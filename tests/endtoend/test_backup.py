"""A backup of a running appliance, put back on another machine: samples, checks, secrets and tokens."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver import Receiver
from tests.running import CHECKOUT, HENGE, Appliance
from tests.waiting import wait_until

PASSPHRASE = "a stone circle at dawn"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("first")) as running:
        yield running


def henge(*words: str, passphrase: str = PASSPHRASE) -> tuple[int, str]:
    done = subprocess.run(
        [*HENGE, *words],
        env=os.environ | {"HENGE_BACKUP_PASSPHRASE": passphrase},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        cwd=CHECKOUT,
        check=False,
    )
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()


@pytest.fixture(scope="module")
def phone() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def backup(appliance: Appliance, phone: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an appliance with samples, a check, and a channel with a secret."""
    now_ms = time.time_ns() // 1_000_000
    body = [{"labels": {"__name__": "kept_total"}, "samples": [[now_ms - 1_000, 41], [now_ms, 42]]}]
    assert appliance.call("POST", "/api/v1/series", body)[0] == 200
    hook = {"kind": "webhook", "name": "hook", "options": {"url": phone.url, "secret": "sealed in the state"}}
    assert appliance.call("POST", "/api/v1/channels", hook)[0] == 201
    check = {"kind": "tcp", "name": "door", "options": {"host": "127.0.0.1", "port": 1}, "paused": True}
    assert appliance.call("POST", "/api/v1/checks", check)[0] == 201
    folder = tmp_path_factory.mktemp("backups")
    status, said = henge("backup", "create", str(folder), "--data", str(appliance.data_dir))
    assert status == 0, said
    assert [Path(said.splitlines()[-1])] == list(folder.iterdir())
    return Path(said.splitlines()[-1])


def test_another_machine_has_everything(appliance: Appliance, backup: Path, phone: Receiver, tmp_path: Path) -> None:
    assert b"kept_total" not in backup.read_bytes()
    assert backup.stat().st_mode & 0o077 == 0
    assert henge("backup", "verify", str(backup))[1].startswith("whole; made ")
    status, said = henge("backup", "restore", str(backup), "--data", str(tmp_path / "data"))
    assert status == 0, said
    token = appliance.token
    with Appliance(tmp_path) as second:
        assert second.call("GET", "/api/v1/checks", token=token)[1]["items"][0]["name"] == "door"
        values = second.query("count_over_time(kept_total[1h])")
        assert [row["value"][1] for row in values] == ["2"]
        before = len(phone.received)
        assert henge("channel", "test", "hook", "--data", str(second.data_dir))[0] == 0
        wait_until(lambda: len(phone.received) > before, what="the message that is signed with the secret")
    assert not list(tmp_path.glob("*.restoring"))


def test_a_folder_that_holds_something_is_set_aside_only_by_force(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "state.db").write_text("somebody's")
    status, said = henge("backup", "restore", str(backup), "--data", str(data))
    assert (status, "is not empty" in said) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    status, said = henge("backup", "restore", str(backup), "--data", str(data), "--force")
    assert status == 0, said
    (aside,) = tmp_path.glob("data.before-*")
    assert (aside / "state.db").read_text() == "somebody's"


def test_what_cannot_be_put_back_leaves_the_folder_as_it_was(
    appliance: Appliance, backup: Path, tmp_path: Path
) -> None:
    content = backup.read_bytes()
    middle = len(content) // 2
    wrong = {
        "cut.backup": (content[:middle], PASSPHRASE, "damaged or cut off"),
        "changed.backup": (
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            PASSPHRASE,
            "passphrase is not that of this file, or its beginning is damaged"
            if middle < 2**20
            else "damaged or cut off",
        ),
        "other.backup": (b"a picture, perhaps", PASSPHRASE, "no sealed file of Henge"),
        "whole.backup": (content, "a stone circle at dusk", "passphrase is not that"),
    }
    data = tmp_path / "new" / "data"
    for name, (written, passphrase, words) in wrong.items():
        file = tmp_path / name
        file.write_bytes(written)
        for command in (("restore", "--data", str(data)), ("verify",)):
            status, said = henge("backup", command[0], str(file), *command[1:], passphrase=passphrase)
            assert (status, said.startswith("henge: "), said.count("\n")) == (1, True, 0), said
            assert "cut" in name or words in said, (name, said)
        assert not data.exists()
    status, said = henge("backup", "restore", str(backup), "--data", str(appliance.data_dir), "--force")
    assert (status, "an appliance runs" in said) == (1, True)


def test_a_new_backup_wants_a_long_passphrase_and_overwrites_nothing(appliance: Appliance, backup: Path) -> None:
    data = ("--data", str(appliance.data_dir))
    status, said = henge("backup", "create", str(backup.parent), *data, passphrase="short")
    assert (status, "12 or more" in said) == (1, True)
    status, said = henge("backup", "create", str(backup), *data)
    assert (status, "is there already" in said) == (1, True)
    assert list(backup.parent.iterdir()) == [backup]
    assert not list((appliance.data_dir / "snapshots").glob("*"))


def test_scheduled_backups_are_made_shown_and_put_back(phone: Receiver, tmp_path: Path) -> None:
    target, secret = tmp_path / "target", tmp_path / "passphrase"
    target.mkdir()
    (tmp_path / "first").mkdir()
    secret.write_text(PASSPHRASE)
    secret.chmod(0o600)
    settings = (f"backup.dir={target}", f"backup.passphrase_file={secret}", "backup.interval=1h")
    with Appliance(tmp_path / "first", settings=settings) as appliance:

        def stats() -> dict[str, object]:
            found: dict[str, object] = appliance.call("GET", "/api/v1/system")[1]["backup"]
            return found

        wait_until(lambda: stats()["succeeded_ms"], what="the first backup", timeout_s=30)
        (made,) = target.iterdir()
        assert stats()["file"] == str(made)
        assert "henge_backup_last_success_timestamp_seconds 1" in appliance.call("GET", "/metrics")[1]
        assert "hours old" in appliance.henge("doctor", "--data", str(appliance.data_dir), *doctor_settings(settings))
    status, said = henge("backup", "restore", str(made), "--data", str(tmp_path / "data"))
    assert status == 0, said


def doctor_settings(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]
