"""Which step a schema gives a series."""

from __future__ import annotations

import json

import pytest

from appliance.retention import parse_schemas
from tsdb.query.graphite.steps import ConfiguredSteps
from tsdb.sample import labels_from

RULES = parse_schemas(
    json.dumps(
        [
            {"pattern": r"^quick\.", "retention": "raw:1h,1m:1d,10m:10d", "resolution": "10s"},
            {"pattern": r"^raw\.", "retention": "raw:7d"},
            {"match": '{dc="lon",env!~"test.*"}', "retention": "forever", "resolution": "5m"},
            {"pattern": ".", "retention": "raw:1d", "resolution": "1m"},
        ]
    )
)
STEPS = {  # (name, tags, age of the range's start): step
    ("quick.a", "", 0): 10,
    ("quick.a", "", 3_600): 10,
    ("quick.a", "", 3_601): 60,
    ("quick.a", "", 86_401): 600,
    ("quick.a", "", 10**9): 600,  # Beyond all: the coarsest.
    ("very.quick.a", "", 0): 60,
    ("raw.a", "", 0): None,  # The first that fits counts, though it does not say.
    ("x", "lon", 10**9): 300,
    ("x", "ams", 0): 60,
}


@pytest.mark.parametrize(("series", "step_s"), STEPS.items(), ids=map(str, STEPS))
def test_the_first_schema_that_fits_says_the_step(series: tuple[str, str, int], step_s: int | None) -> None:
    name, dc, age_s = series
    labels = labels_from({"__name__": name, "dc": dc} if dc else {"__name__": name})
    assert ConfiguredSteps(RULES).step_s(labels, age_s) == step_s


def test_without_a_resolution_nothing_is_known() -> None:
    assert ConfiguredSteps(RULES[1:2]).step_s(labels_from({"__name__": "raw.a"}), 0) is None
