"""docs/format/state.md names every table, column and index of the file."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.state import PutDocument, safekeeping
from appliance.state.writer import AUDIT_COUNT_MAX, EVENT_COUNT_MAX
from tests.appliance.state.conftest import START_MS, StateFile

PAGE = Path(__file__).resolve().parents[3] / "docs" / "format" / "state.md"


def test_every_table_has_a_section_with_all_its_columns_and_indexes(state: StateFile) -> None:
    rows = state.read._rows("SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'", ())
    tables = {name for kind, name, _ in rows if kind == "table"}
    section_by_table = {
        section.split("\n", 1)[0]: section for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    }
    assert tables == set(section_by_table) - {"Backups and damage"}
    for table in tables:
        columns = {name for (name,) in state.read._rows("SELECT name FROM pragma_table_info(?)", (table,))}
        indexes = {name for kind, name, of in rows if kind == "index" and of == table and not name.startswith("idx_")}
        written = set(re.findall(r"`([^`]+)`", section_by_table[table]))
        assert (columns | indexes) - written - ({"id"} if table == "_sqlite_migrations" else set()) == set(), table


def test_the_limits_of_the_page_are_those_of_the_code(state: StateFile) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"newest {EVENT_COUNT_MAX:,} rows" in page
    assert f"newest {AUDIT_COUNT_MAX:,} rows" in page
    assert f"0x{safekeeping.APPLICATION_ID:08X}" in page
    assert safekeeping.BACKUP_COUNT_MAX == 7
    assert "newest seven are kept" in page


def test_a_backup_is_named_as_the_page_says(state: StateFile) -> None:
    state.writer.apply([PutDocument("check", "a", {})], "s")
    name = safekeeping.back_up(state.path, START_MS, "daily").name
    assert re.fullmatch(r"state-\d{8}T\d{6}Z-daily\.db", name)
