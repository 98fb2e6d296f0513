"""Run what graphite-web and carbon answered against ours: `python -m tests.scripts.graphite [FILE…] [--json]`.

Without a file, all that the shared folder holds for one of the families below. A family is a kind of file, known by its
keys. What does not agree stands in graphite.known beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tests.scripts import graphite_attime, graphite_carbon, graphite_functions, graphite_http, graphite_render
from tests.scripts.report import Report, known_exceptions, told
from tests.shared import SHARED

KNOWN = Path(__file__).with_suffix(".known")
FOLDER = SHARED / "conformance" / "graphite"

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of file: how it is told from others, how it is run, and which file of the shared folder it is."""

    name: str
    is_mine: Callable[[Content], bool]
    run: Callable[[Content, Path], Report]


FAMILIES = {
    "attime.json": Family("attime", graphite_attime.is_mine, graphite_attime.run),
    "render.json": Family("render", graphite_render.is_mine, graphite_render.run),
    "carbon.json": Family("carbon", graphite_carbon.is_mine, graphite_carbon.run),
    "functions.json": Family("functions", graphite_functions.is_mine, graphite_functions.run),
    "http.json": Family("http", graphite_http.is_mine, graphite_http.run),
}


def run_file(path: Path) -> Report:
    """Raises: ValueError, for a file of no known family."""
    content = json.loads(path.read_bytes())
    for family in FAMILIES.values():
        if family.is_mine(content):
            return family.run(content, path)
    raise ValueError(f"{path.name} has the keys {', '.join(content)}: no family of tests.scripts.graphite knows them")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def main(files: tuple[Path, ...], as_json: bool) -> None:
    """Run recorded answers, by default all. Exit status 1 if a case fails that is not a known exception, or if a known
    exception passes."""
    paths = files or tuple(FOLDER / name for name in FAMILIES)
    try:
        reports = [run_file(path) for path in paths]
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    told(reports, known_exceptions(KNOWN), as_json=as_json)


if __name__ == "__main__":
    main()
