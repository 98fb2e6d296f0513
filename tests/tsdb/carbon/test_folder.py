"""A configuration folder of carbon, read as it is: what is taken, what is not, and the command that writes it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from appliance.config import load
from tsdb.carbon.folder import read_folder
from tsdb.commands.imports import import_

SCHEMAS = """
# carbon's own
[carbon]
pattern = ^carbon\\.
retentions = 60:90d

[stats]
pattern = ^stats\\.(?P<app>[^.]+)%
RETENTIONS = 10s:6h, 1min:7d,10min:5y
priority = 100

[ahead]
pattern = ^a(?=b)
retentions = 1m:1d

[narrow]
pattern = ^narrow
retentions = 10s:2h,1m:1h

[brief]
pattern = ^brief
retentions = 1s:30s

[nothing]
pattern = ^nothing

[default]
pattern = .*
retentions = 60s:1d
"""
AGGREGATION = """
[min]
pattern = \\.min$
xFilesFactor = 0.1
aggregationMethod = min

[last]
pattern = \\.last$
xFilesFactor = 0
aggregationMethod = last

[odd]
pattern = x
xFilesFactor = 0
aggregationMethod = nosuch
"""
TEXTS = {
    "storage-schemas.conf": SCHEMAS,
    "storage-aggregation.conf": AGGREGATION,
    "carbon.conf": "[cache]\nLINE_RECEIVER_PORT = 2103\nLINE_RECEIVER_INTERFACE = 10.0.0.1\n"
    "[aggregator]\nFORWARD_ALL = False\n",
    "rewrite-rules.conf": "[pre]\n^old\\. = new.\n^a(?!b) = c\n",
    "aggregation-rules.conf": "all.<x> (60) = sum *.<x>\n",
    "relay-rules.conf": "[all]\ndefault = true\ndestinations = 10.0.0.2:2004\n",
    "blacklist.conf": "# none\n",
}


def test_schemas_keep_their_order_and_say_their_resolution() -> None:
    found = read_folder(TEXTS)
    assert [(one["name"], one["retention"], one["resolution"]) for one in found.schemas] == [
        ("carbon", "raw:90d", "1m"),
        ("stats", "raw:6h,1m:7d,10m:5y", "10s"),
        ("default", "raw:1d", "1m"),
    ]
    assert found.schemas[1]["pattern"] == "^stats\\.(?P<app>[^.]+)%"


def test_what_is_not_taken_is_named_with_its_reason() -> None:
    said = "\n".join(read_folder(TEXTS).not_taken)
    for words in (
        "storage-schemas.conf [ahead]: pattern: the regular expression '^a(?=b)' is wrong",
        "storage-schemas.conf [narrow]: the archive of 60 s covers 3,600 s, no more than the finer one's 7,200 s",
        "storage-schemas.conf [brief]: retention: 'raw:30s' keeps less than 1m",
        "storage-schemas.conf [nothing]: has no retentions; its series go by the next schema that fits",
        "storage-aggregation.conf [odd]: there is no method 'nosuch'; there are average, sum",
        "carbon.conf [cache]: LINE_RECEIVER_PORT is left to you: set graphite.listen = 10.0.0.1:2103",
        "rewrite-rules.conf: line 3: the regular expression '^a(?!b)' is wrong: invalid perl operator: (?!",
        "relay-rules.conf [all] to 10.0.0.2:2004: Henge passes nothing on",
        "carbon.conf [aggregator]: FORWARD_ALL = False not applied",
    ):
        assert words in said
    assert "blacklist.conf" not in said
    assert "[last]" not in said


def test_aggregation_keeps_its_order_and_what_carbon_takes_for_granted() -> None:
    found = read_folder({"storage-aggregation.conf": f"{AGGREGATION}\n[rest]\npattern = .*\n"})
    assert [tuple(one.values()) for one in found.aggregations] == [
        ("min", "\\.min$", "min", "0.1"),
        ("last", "\\.last$", "last", "0"),
        ("rest", ".*", "average", "0.5"),
    ]


def test_rules_are_taken_but_for_lines_that_are_wrong() -> None:
    found = read_folder(TEXTS)
    assert found.rules["rewrite-rules.conf"].startswith(
        "[pre]\n^old\\. = new.\n# ^a(?!b) = c\n# not taken: the regular"
    )
    assert found.rules["aggregation-rules.conf"] == TEXTS["aggregation-rules.conf"]
    assert {"rewrite-rules.conf: 1 rule", "aggregation-rules.conf: 1 rule"} <= set(found.taken)


def test_lists_count_only_where_carbon_looks_at_them() -> None:
    lists = {"blacklist.conf": "^bad\n"}
    assert read_folder(lists).rules == lists
    assert read_folder({**lists, "carbon.conf": "[cache]\nUSE_WHITELIST = True\n"}).rules == lists
    unused = read_folder({**lists, "carbon.conf": "[cache]\nUSE_WHITELIST = False\n"})
    assert not unused.rules
    assert "does not say USE_WHITELIST = True" in "\n".join(unused.not_taken)


def test_a_relay_that_carbon_would_not_start_is_named() -> None:
    for text, words in (
        ("[a]\npattern = x\ndestinations = h:1\n", "0 sections are the default"),
        ("[a]\ndefault = true\npattern = x\ndestinations = h:1\n", "is the default and has a pattern"),
        ("[a]\ndefault = true\n", "has no destinations"),
        ("[a]\ndestinations = h:1\n", "has no pattern and is not the default"),
    ):
        assert words in "\n".join(read_folder({"relay-rules.conf": text}).not_taken)


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read() -> None:
    found = read_folder({**TEXTS, "storage-schemas.conf": "pattern = x\n"})
    assert not found.schemas
    assert found.not_taken[0].startswith("storage-schemas.conf: File contains no section headers.")
    assert any(line.startswith("storage-aggregation.conf") for line in found.not_taken)


def run(tmp_path: Path, *arguments: str) -> Result:
    folder = tmp_path / "carbon"
    folder.mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return CliRunner().invoke(import_, ["carbon-conf", str(folder), "--data", str(tmp_path / "data"), *arguments])


def test_without_write_nothing_is_written(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "taken      storage-schemas.conf [stats]: 10s:2160,60s:10080,600s:262800 → raw:6h,1m:7d" in done.output
    assert "nothing was written" in done.output
    assert not (tmp_path / "data").exists()


def test_what_is_written_is_what_the_appliance_reads(tmp_path: Path) -> None:
    path = tmp_path / "data" / "henge.toml"
    path.parent.mkdir()
    path.write_text('[store]\nfsync = "always"\n\n[log]\nlevel = "debug"')
    done = run(tmp_path, "--write")
    assert done.exit_code == 0, done.output
    config = load(data_dir=path.parent, environ={})
    assert [(rule.name, str(rule.retention), rule.resolution_ms) for rule in config.store.schemas] == [
        ("carbon", "raw:90d", 60_000),
        ("stats", "raw:6h,1m:7d,10m:5y", 10_000),
        ("default", "raw:1d", 60_000),
    ]
    assert (config.store.fsync.mode, config.log.level) == ("always", "debug")
    assert [(rule.name, rule.method, rule.x_files_factor) for rule in config.graphite.aggregation] == [
        ("min", "min", 0.1),
        ("last", "last", 0.0),
    ]
    rules = tmp_path / "data" / "carbon"
    assert sorted(each.name for each in rules.iterdir()) == ["aggregation-rules.conf", "rewrite-rules.conf"]
    # What is there is not written over, and nothing else is then.
    again = run(tmp_path, "--write")
    assert "has rewrite-rules.conf, aggregation-rules.conf already" in str(again.exception)
    for each in rules.iterdir():
        each.unlink()
    # A second time would make every schema twice.
    before, again = path.read_text(), run(tmp_path, "--write")
    assert again.exception is not None
    assert "has tables [[store.schemas]] already" in str(again.exception)
    assert path.read_text() == before


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(import_, ["carbon-conf", str(tmp_path)])
    assert "nothing there could be taken over" in str(done.exception)
