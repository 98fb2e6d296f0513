"""A statsd's config.js: what is read of its JavaScript, and which settings it becomes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.config import load
from tsdb.commands.import_statsd import statsd
from tsdb.configjs.literal import CHARS_MAX, DEPTH_MAX, NotLiteral, read
from tsdb.configjs.settings import settings_of

GOOD = {  # name: (the file; what it holds)
    "empty": ("{}", {}),
    "comma first, comments, a comma at the end": (
        "/* a\n */ { a: 1 // one\n, 'b': \"x\" /* two */ , }\n",
        {"a": 1, "b": "x"},
    ),
    "numbers": ("{a: -1.5e2, b: .5, c: 0x1F, d: 3.}", {"a": -150, "b": 0.5, "c": 31, "d": 3}),
    "words and lists": ("{a: [true, false, null, undefined,], b: []}", {"a": [True, False, None, None], "b": []}),
    "escapes": (r"""{a: 'it\'s', "b\u0041": "\x41\n"}""", {"a": "it's", "bA": "A\n"}),
    "levels, a mark of order, a semicolon": ("\ufeff{a: {b: {c: [{d: 'e'}]}}};", {"a": {"b": {"c": [{"d": "e"}]}}}),
    "a comment's marks in a text": ("{a: 'http://x/*y*/'}", {"a": "http://x/*y*/"}),
}


@pytest.mark.parametrize(("text", "wanted"), GOOD.values(), ids=GOOD.keys())
def test_literals_are_read(text: str, wanted: object) -> None:
    assert read(text) == wanted


BAD = {  # name: (the file; what the refusal says)
    "a call": ("{\n  a: require('os').hostname()\n}", r"line 2, column 6: .*require"),
    "an operator": ("{a: 1 + 1}", "column 7: a comma or }"),
    "a template": ("{a: `x`}", "column 5: only texts"),
    "a name": ("{a: port}", "column 5: only texts"),
    "a number with a tail": ("{a: 12px}", "column 5: only texts"),
    "a comment without end": ("{a: 1 /* }", "column 7: a comma or }"),
    "an object without end": ("{a: 1,", "line 1: a key"),
    "a list without end": ("{a: [1", "line 1: a comma or ]"),
    "a text over two lines": ("{a: 'x\ny'}", "column 5: only texts"),
    "no colon": ("{a 1}", "column 4: a colon"),
    "no object": ("[1]", "not an object"),
    "nothing": ("", "line 1: only texts"),
    "more behind it": ("{}; x()", "column 5: nothing may stand behind"),
    "deeper than there is reason": ("{a:" + "[" * (DEPTH_MAX + 1), f"more than {DEPTH_MAX} levels"),
    "a bomb of levels": ("{a:" * 100_000, f"more than {DEPTH_MAX} levels"),
    "longer than there is reason": (" " * (CHARS_MAX + 1), "characters of at most"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_literal_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(NotLiteral, match=message):
        read(text)


CONFIG = """
{
  port: 9125, mgmt_port: 9126, mgmt_address: '127.0.0.1',
  graphiteHost: "g", backends: ["./backends/graphite", "./backends/console"],
  flushInterval: 30000, percentThreshold: [95, 99.9, -10], deleteIdleStats: true, deleteGauges: "yes",
  repeater: [{host: '10.0.0.1', port: 8125}], gaugesMaxTTL: 0, what: 1,
  histogram: [{metric: 'render', bins: [0.5, 10, 'inf']}, {metric: '', bins: []}],
  graphite: { legacyNamespace: false, globalPrefix: "", prefixTimer: 'aggr', nothing: 1 },
}
"""


def test_keys_become_settings_and_the_others_are_named() -> None:
    found = settings_of(read(CONFIG))
    assert found.settings == {
        "listen": "0.0.0.0:9125",
        "management_listen": "127.0.0.1:9126",
        "flush_interval": "30s",
        "percentiles": "95,99.9,-10",
        "delete_idle": "true",
        "histograms": "render=0.5,10,inf; =",
        "legacy_namespace": "false",
        "global_prefix": "",
        "prefix_timer": "aggr",
    }
    said = " | ".join(found.not_taken)
    for key in ("backends", "repeater", "graphiteHost", "deleteGauges", "gaugesMaxTTL", "what", "graphite.nothing"):
        assert f"{key}: " in said, said


def test_the_command_writes_once_and_never_over_what_is_there(tmp_path: Path) -> None:
    config, data = tmp_path / "config.js", tmp_path / "data"
    config.write_text(CONFIG)
    only_said = CliRunner().invoke(statsd, [str(config), "--data", str(data)])
    assert only_said.exit_code == 0, only_said.output
    assert not (data / "henge.toml").exists()
    done = CliRunner().invoke(statsd, [str(config), "--write", "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert load(data_dir=data, environ={}).statsd.percentiles == (95.0, 99.9, -10.0)
    assert list(tomllib.loads((data / "henge.toml").read_text())) == ["statsd"]
    again = CliRunner().invoke(statsd, [str(config), "--write", "--data", str(data)])
    assert again.exit_code != 0
    config.write_text("{ port: process.env.PORT }")
    refused = CliRunner().invoke(statsd, [str(config), "--data", str(data)])
    assert refused.exit_code != 0
