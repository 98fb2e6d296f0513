"""What a reload has to do, as a table; and that the process table tells the truth about who reads what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.changes import changes, reads
from appliance.config import SETTINGS, load
from appliance.processes import processes_of, tree
from appliance.settings import SECTION_TYPES

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = load(data_dir=Path("/nowhere"), environ={})
PROCESSES = {process.name: process for process in processes_of(tree(DEFAULT))}

CHANGED = {  # what was set: who is restarted for it
    "store.fsync=always": "store web",
    "store.schemas=[]": None,
    "query.timeout=5s": "query web",
    "graphite.listen=127.0.0.1:3003": "intake web",
    "graphite.pickle_listen=": "intake web",
    "statsd.listen=127.0.0.1:9125": "intake web",
    "web.listen=127.0.0.1:9420": "web",
    "log.level=debug": "state store intake query spawner scheduler backup web",
}


@pytest.mark.parametrize(("override", "want"), CHANGED.items(), ids=CHANGED.keys())
def test_a_changed_setting_restarts_those_that_read_it(override: str, want: str | None) -> None:
    new = load(data_dir=Path("/nowhere"), overrides=[override], environ={})
    found = changes(DEFAULT, new, PROCESSES.values())
    key, _, value = override.partition("=")
    if want is None:
        assert found == []
        return
    (change,) = found
    assert (change.setting, change.old, change.new) == (key, DEFAULT.texts[key], value)
    assert change.processes == want.split()


def test_schemas_of_the_store_concern_the_queries_too() -> None:
    assert reads(PROCESSES["query"], "store.schemas")
    assert not reads(PROCESSES["query"], "store.fsync")


ROOMS = {  # process: where the code is that only this process runs
    "state": ["appliance/state"],
    "store": ["tsdb/node/store.py"],
    "intake": ["tsdb/node/intake.py"],
    "query": ["tsdb/node/query.py"],
    "spawner": ["checks/nagios"],
    "scheduler": ["scheduler"],
    "backup": ["tsdb/node/backup.py"],
    "web": ["web"],
}
READ = re.compile(rf"config\.({'|'.join(SECTION_TYPES)})\b(?:\.(\w+))?")


@pytest.mark.parametrize("name", PROCESSES)
def test_what_a_process_reads_stands_in_the_table(name: str) -> None:
    """Goal: no setting waits for a restart that nobody makes. Method: the words in the code."""
    files = [
        path
        for room in ROOMS[name]
        for path in ([ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"))
    ]
    assert files
    for path in files:
        for section, attribute in READ.findall(path.read_text()):
            keys = [s.key for s in SETTINGS if s.section == section and attribute in ("", s.field or s.name)]
            settings = keys if attribute else [section]
            assert all(reads(PROCESSES[name], key) for key in settings), f"{path}: config.{section}.{attribute}"
