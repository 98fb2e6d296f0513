"""Where a person looks when something is wrong: the numbers of /metrics, a page's words, the log."""

from __future__ import annotations

import html
import re

from tests.running import Appliance

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:]\w*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def metric(appliance: Appliance, name: str, **labels: str) -> float:
    """The sum of the samples of one metric that carry these labels; 0 when there are none."""
    status, text = appliance.call("GET", "/metrics")
    assert status == 200, text
    total = 0.0
    for found in _SAMPLE.finditer(text):
        carried = dict(_LABEL.findall(found["labels"] or ""))
        if found["name"] == name and labels.items() <= carried.items():
            total += float(found["value"])
    return total


def page(appliance: Appliance, path: str) -> str:
    """The words of a page, without its tags, blanks run together."""
    status, text = appliance.call("GET", path)
    assert status == 200, (path, status)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def log(appliance: Appliance) -> str:
    """What the appliance wrote on the terminal and into its log."""
    file = appliance.data_dir / "log" / "henge.log"
    written = file.read_text(errors="replace") if file.exists() else ""
    return appliance.log_file.read_text(errors="replace") + written


def pids(appliance: Appliance) -> dict[str, int]:
    """The process ids of the tree; the same before and after means that no process was restarted."""
    return dict(appliance.ready["processes"])
