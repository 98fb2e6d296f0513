"""Every line of the page about sending numbers, run by bash as a reader would paste it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import CHECKOUT, Appliance
from tests.waiting import wait_until

PAGE = (CHECKOUT / "docs" / "protocols.md").read_text()
LINES = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
# What each of them stores, by the order of the page; the first makes the token of those that need one.
STORED = (
    "docs.graphite.tcp",
    "docs.graphite.udp",
    "docs.graphite.pickle",
    "stats.gauges.docs.queue",
    "stats.timers.docs.latency.count",
    "docs_json",
)
PORTS = {"2003": "graphite", "2004": "graphite_pickle", "8125": "statsd", "8420": "web"}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    settings = ("statsd.listen=127.0.0.1:0", "statsd.dogstatsd=true", "statsd.flush_interval=1s")
    with Appliance(tmp_path_factory.mktemp("lines"), settings=settings) as running:
        yield running


def here(text: str, appliance: Appliance) -> str:
    """With the ports of this appliance in the place of the usual ones."""
    for port, name in PORTS.items():
        text = re.sub(rf"\b{port}\b", appliance.ready[name].rsplit(":", 1)[1].strip("/"), text)
    return text


def test_every_line_is_taken_and_can_be_queried(appliance: Appliance, tmp_path: Path) -> None:
    token, *sending = LINES
    assert len(sending) == len(STORED), "a line that nobody looks for"
    words = shlex.join([*appliance.executable, "token"])
    henge = f'henge() {{ shift; {words} "$@" --data {shlex.quote(str(appliance.data_dir))}; }}\n'
    script = henge + here("\n".join([token, *sending]), appliance)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for name in STORED:
        wait_until(lambda name=name: appliance.query(f'{{__name__="{name}"}}'), what=name)
