"""Adding tables to the henge.toml of a data folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance.config import Config, ConfigError, load
from appliance.errors import CannotStart


def add_tables(path: Path, tables: str, taken_by: Callable[[Config], str | None]) -> None:
    """Add the tables, or change nothing: the new file is read as settings first.

    taken_by: what of the settings that are there now stands in the way, such as "tables [[store.schemas]]".
    Raises: CannotStart.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if before and (there := taken_by(load(data_dir=path.parent, environ={}))):
        raise CannotStart(f"{path} has {there} already; take them out, or add those above by hand")
    draft = path.with_name("henge.toml.draft")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        draft.write_text(f"{before.rstrip()}\n\n{tables}".lstrip(), encoding="utf-8")
        if path.exists():
            draft.chmod(path.stat().st_mode)
        load(data_dir=path.parent, file=draft, environ={})
        draft.replace(path)
    except (OSError, ConfigError) as error:
        draft.unlink(missing_ok=True)
        raise CannotStart(f"{path} stays as it was: {error}") from error
