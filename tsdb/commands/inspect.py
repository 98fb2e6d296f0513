"""`henge db inspect`: what a file of the store holds, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from appliance.commands.options import data_option
from appliance.config import load
from appliance.errors import CannotStart
from tsdb.commands.notation import series_text

SHOWN_COUNT = 10
ALL_COUNT = 1 << 31


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--limit",
    default=SHOWN_COUNT,
    show_default=True,
    type=click.IntRange(min=0),
    help="Entries of each list; 0 for all.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@data_option
def inspect(path: Path | None, limit: int, as_json: bool, data: Path | None) -> None:
    """Show what a block, a segment of the log or a tombstone holds; without PATH, the whole folder.

    PATH is a file anywhere, or one of the store's, such as 1699999200-2h-00000001.block. Reads the files alone,
    with and without a running appliance, and changes nothing.

    The content hashes that the folder shows are equal on two nodes that hold the same samples."""
    from tsdb.store.inspection import describe_file, describe_folder

    folder = load(data_dir=data).data_dir / "samples"
    limit = limit if limit > 0 else ALL_COUNT
    try:
        if path is None:
            if not folder.is_dir():
                raise CannotStart(f"there are no samples below {folder.parent}; give the data folder with --data DIR")
            told = describe_folder(folder, limit)
        else:
            places = (path, folder / path, folder / "blocks" / path, folder / "wal" / path)
            told = describe_file(next((place for place in places if place.exists()), path), limit)
    except FileNotFoundError as error:
        raise CannotStart(f"there is no file {path}, neither here nor below {folder}") from error
    if as_json:
        click.echo(json.dumps(told))
        return
    for line in _lines(told):
        click.echo(line)


def _lines(told: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """An object as indented lines: plain values first come first, lists of objects as one line each."""
    margin = "  " * depth
    for key, value in told.items():
        name = _words(key)
        if isinstance(value, dict) and key not in ("labels", "deletes"):
            yield f"{margin}{name}"
            yield from _lines(value, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{margin}{name}"
            for one in value:
                yield f"{margin}  {_one_line(one)}"
        elif isinstance(value, list):
            yield from (f"{margin}{name}  {_plain(key, one)}" for one in value)
        else:
            yield f"{margin}{name}  {_plain(key, value)}"


def _one_line(one: dict[str, Any]) -> str:
    if "__name__" in one:
        return series_text(one)
    return "  ".join(f"{_words(key)} {_plain(key, value)}" for key, value in one.items())


def _words(key: str) -> str:
    """A key of the JSON for people, who see times and not milliseconds."""
    return {"min_ms": "from", "max_ms": "to", "window_ms": "window"}.get(key, key.replace("_", " "))


def _plain(key: str, value: object) -> str:
    if isinstance(value, dict):
        return series_text(value) if key == "labels" else json.dumps(value, ensure_ascii=False)
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(_plain(key, one) for one in value)
    if key in ("min_ms", "max_ms", "window_ms") and isinstance(value, int):
        return _time(value)
    return f"{value:,}" if isinstance(value, int) and key not in ("epoch", "version") else str(value)


def _time(at_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError):
        return f"{at_ms} ms"
