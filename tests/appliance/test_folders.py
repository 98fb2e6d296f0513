"""Two folders change names at once, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.folders import exchange, sync_folder


def test_two_folders_change_names(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "old", tmp_path / "new")
    sync_folder(tmp_path)
    assert (tmp_path / "old" / "new").exists()
    assert (tmp_path / "new" / "old").exists()


def test_what_is_absent_changes_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "old", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
