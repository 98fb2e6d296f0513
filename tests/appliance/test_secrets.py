"""The secret box: what comes back, what is refused, and the key file."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.secrets import KEY_FILE_NAME, SecretBox, SecretError


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> SecretBox:
    return SecretBox(tmp_path_factory.mktemp("box"))


@given(text=st.text())
def test_what_is_sealed_opens_to_the_same_text_and_never_looks_the_same(box: SecretBox, text: str) -> None:
    assert box.open(box.seal(text)) == text
    assert box.seal(text) != box.seal(text)


@given(data=st.data())
def test_any_changed_character_is_noticed(box: SecretBox, data: st.DataObject) -> None:
    sealed = box.seal("swordfish")
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = data.draw(st.characters(codec="ascii").filter(lambda one: one != sealed[position]))
    with pytest.raises(SecretError) as refusal:
        box.open(sealed[:position] + changed + sealed[position + 1 :])
    assert "swordfish" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "swordfish", "1:", "1:AAAA", "2:AAAA", "1:" + "!" * 80])
def test_what_was_never_sealed_is_refused(box: SecretBox, text: str) -> None:
    with pytest.raises(SecretError, match="enter"):
        box.open(text)


def test_the_key_stays_and_another_folder_has_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    sealed = SecretBox(tmp_path / "one").seal("swordfish")
    assert SecretBox(tmp_path / "one").open(sealed) == "swordfish"
    with pytest.raises(SecretError, match="another key"):
        SecretBox(tmp_path / "two").open(sealed)


def test_the_key_file_is_for_its_owner_alone_and_is_made_so_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = SecretBox(tmp_path).seal("swordfish")
    key_file = tmp_path / KEY_FILE_NAME
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key_file.chmod(0o644)
    assert SecretBox(tmp_path).open(before) == "swordfish"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert "could be read by others (mode 644)" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE_NAME).write_bytes(content)
    with pytest.raises(SecretError, match="damaged"):
        SecretBox(tmp_path)
    assert (tmp_path / KEY_FILE_NAME).read_bytes() == content


def test_a_key_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(os.urandom(32))
    (tmp_path / KEY_FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretError, match="cannot be used"):
        SecretBox(tmp_path)


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    """Goal: one key, whoever was first. Method: threads that start together, each with a box of its own."""
    start, boxes = threading.Barrier(8), []

    def make() -> None:
        start.wait()
        boxes.append(SecretBox(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {box.open(boxes[0].seal("same")) for box in boxes} == {"same"}
    assert len(boxes) == 8
