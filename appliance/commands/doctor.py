"""`henge doctor`: plain advice about this machine and the data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from appliance.commands.options import Settings, settings_options
from appliance.config import default_data_dir
from appliance.errors import CannotStart

if TYPE_CHECKING:
    from appliance.doctor.examination import Look


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="The findings as one JSON object.")
def doctor(data: Path | None, config: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Look at this machine and the data folder, and say what to do about what is not well. Changes nothing.

    Works with and without a running appliance: disk, clock, limits, ports, names, permissions, state, samples.
    Exit status 1 when something is a fault; advice alone is 0."""
    _see_that_it_may_be_read((data or default_data_dir()).expanduser())
    from appliance.doctor.examination import count, examine
    from appliance.doctor.patient import meet
    from appliance.version import version

    loaded = Settings(data, config, overrides).load()
    patient = meet(loaded)
    looks = examine(patient)
    faults_count = count(looks, "fault")
    if as_json:
        found = {
            "version": version(),
            "data_dir": str(loaded.data_dir),
            "pid": patient.pid,
            "counts": {verdict: count(looks, verdict) for verdict in ("ok", "advice", "fault")},
            "findings": [
                {"look": look.name, **msgspec.to_builtins(finding)} for look in looks for finding in look.findings
            ],
        }
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        runs = f"process {patient.pid} runs on it" if patient.pid else "no appliance runs on it"
        click.echo(f"Henge {version()}, data folder {loaded.data_dir}: {runs}\n")
        for line in _lines(looks):
            click.echo(line)
        click.echo(f"\nFaults: {faults_count}, to improve: {count(looks, 'advice')}, well: {count(looks, 'ok')}")
    sys.exit(1 if faults_count else 0)


def _see_that_it_may_be_read(data_dir: Path) -> None:
    """The package's folder is its service's: without its rights nothing can be said of it. Raises: CannotStart."""
    try:
        os.scandir(data_dir).close()
    except PermissionError as error:
        raise CannotStart(
            f"the data folder {data_dir} may not be read by this user; call this as its owner, or as the "
            f"administrator: sudo henge doctor --data {data_dir}"
        ) from error
    except OSError:
        return  # Not there yet, or no folder: a look says so.


def _lines(looks: Sequence[Look]) -> Iterator[str]:
    for look in looks:
        for index, finding in enumerate(look.findings):
            name = look.name if index == 0 else ""
            yield f"{name:<11}{finding.verdict:<8}{finding.what}: {finding.value}"
            if finding.way_out:
                yield f"{'':<19}→ {finding.way_out}"
