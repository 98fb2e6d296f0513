"""Settings: where they come from, what is refused, and how the refusal reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import SETTINGS, Address, ConfigError, Fsync, default_data_dir, load
from appliance.settings import parse_address
from appliance.units import DURATION_MS_MAX

DAY_MS = 86_400_000


def test_the_defaults_are_those_of_the_manual(tmp_path: Path) -> None:
    config = load(data_dir=tmp_path, environ={})
    assert config.data_dir == tmp_path
    assert config.run_dir == tmp_path / "run"
    assert str(config.web.listen) == "127.0.0.1:8420"
    assert config.graphite.listen == Address("127.0.0.1", 2003)
    assert config.graphite.pickle_listen == Address("127.0.0.1", 2004)
    assert config.statsd.listen == Address("127.0.0.1", 8125)
    assert config.store.fsync == Fsync("interval", 200)
    assert config.store.head_bytes_max == 512 * 2**20
    assert str(config.store.retention) == "raw:90d,1m:1y,10m:3y,1h:10y"
    assert config.store.retention.raw_ms == 90 * DAY_MS
    assert config.store.disk_bytes_max is None
    assert config.store.out_of_order_window_ms == config.store.future_max_ms == 3_600_000
    assert config.store.series_count_max == 2_000_000
    assert config.log.level == "info"
    assert config.sources == {}
    assert set(config.texts) == {setting.key for setting in SETTINGS}


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    load(data_dir=tmp_path / "new", environ={})
    assert list(tmp_path.iterdir()) == []


PLACES = {  # name: (file, environment, --set; the level that counts and where it came from)
    "nothing": ("", {}, [], ("info", None)),
    "the file": ("[log]\nlevel = 'debug'", {}, [], ("debug", "{file}, line 2")),
    "the environment before the file": (
        "[log]\nlevel = 'debug'",
        {"HENGE_LOG__LEVEL": "error"},
        [],
        ("error", "environment HENGE_LOG__LEVEL"),
    ),
    "--set before both": (
        "[log]\nlevel = 'debug'",
        {"HENGE_LOG__LEVEL": "error"},
        ["log.level=warning"],
        ("warning", "--set log.level=warning"),
    ),
    "the last --set": ("", {}, ["log.level=error", "log.level=debug"], ("debug", "--set log.level=debug")),
    "a dotted key": ("log.level = 'debug'", {}, [], ("debug", "{file}, line 1")),
    "an inline table": ("log = { level = 'debug' }", {}, [], ("debug", "{file}")),
}


@pytest.mark.parametrize(("file", "environ", "overrides", "want"), PLACES.values(), ids=PLACES.keys())
def test_places(
    tmp_path: Path, file: str, environ: dict[str, str], overrides: list[str], want: tuple[str, str | None]
) -> None:
    (tmp_path / "henge.toml").write_text(file)
    config = load(data_dir=tmp_path, environ=environ, overrides=overrides)
    source = want[1] and want[1].format(file=tmp_path / "henge.toml")
    assert (config.log.level, config.sources.get("log.level")) == (want[0], source)


def test_a_named_file_is_read_instead_of_the_one_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "henge.toml").write_text("[log]\nlevel = 'debug'")
    (tmp_path / "other.toml").write_text("[store]\nseries_count_max = 10")
    config = load(data_dir=tmp_path, file=tmp_path / "other.toml", environ={})
    assert (config.log.level, config.store.series_count_max) == ("info", 10)


def test_every_setting_can_be_written_at_every_place(tmp_path: Path) -> None:
    want = load(data_dir=tmp_path, environ={}).texts
    sections: dict[str, list[str]] = {}
    for setting in SETTINGS:
        sections.setdefault(setting.section, []).append(f'{setting.name} = "{setting.default}"')
    lines = [line for section, entries in sections.items() for line in (f"[{section}]", *entries)]
    (tmp_path / "all.toml").write_text("\n".join(lines))
    from_file = load(data_dir=tmp_path, file=tmp_path / "all.toml", environ={})
    from_environment = load(data_dir=tmp_path, environ={one.environment_name: one.default for one in SETTINGS})
    from_set = load(data_dir=tmp_path, environ={}, overrides=[f"{one.key}={one.default}" for one in SETTINGS])
    assert from_file.texts == from_environment.texts == from_set.texts == want
    assert all(len(one.sources) == len(SETTINGS) for one in (from_file, from_environment, from_set))


DATA_DIRS = {
    "HENGE_DATA": ({"HENGE_DATA": "/srv/henge", "XDG_DATA_HOME": "/xdg"}, "/srv/henge"),
    "XDG": ({"XDG_DATA_HOME": "/xdg"}, "/xdg/henge"),
    "home": ({}, "~/.local/share/henge"),
}


@pytest.mark.parametrize(("environ", "want"), DATA_DIRS.values(), ids=DATA_DIRS.keys())
def test_data_dir(environ: dict[str, str], want: str) -> None:
    assert default_data_dir(environ) == Path(want)
    assert load(environ=environ).data_dir == Path(want).expanduser()


RIGHT = {  # override: what the attribute of its section is then
    "web.listen=[::1]:0": ("web", "listen", Address("::1", 0)),
    "graphite.listen=": ("graphite", "listen", None),
    "statsd.listen=monitor.example.org:8125": ("statsd", "listen", Address("monitor.example.org", 8125)),
    "store.fsync=always": ("store", "fsync", Fsync("always")),
    "store.fsync=never": ("store", "fsync", Fsync("never")),
    "store.fsync=1s": ("store", "fsync", Fsync("interval", 1000)),
    "store.disk_bytes_max=10GiB": ("store", "disk_bytes_max", 10 * 2**30),
    "store.disk_bytes_max=auto": ("store", "disk_bytes_max", None),
    "store.out_of_order_window=forever": ("store", "out_of_order_window_ms", DURATION_MS_MAX),
    "store.future_max=0s": ("store", "future_max_ms", 0),
    "store.series_count_max=2_000": ("store", "series_count_max", 2000),
    "log.level= Debug ": ("log", "level", "debug"),
}


@pytest.mark.parametrize(("override", "want"), RIGHT.items(), ids=RIGHT.keys())
def test_right(override: str, want: tuple[str, str, object]) -> None:
    config = load(data_dir=Path("/data"), environ={}, overrides=[override])
    assert getattr(getattr(config, want[0]), want[1]) == want[2]


RETENTIONS = {
    "forever": [(0, None)],
    "raw:forever": [(0, None)],
    "raw:30d": [(0, 30 * DAY_MS)],
    "raw:1d, 1m:forever": [(0, DAY_MS), (60_000, None)],
    "raw:6h,10s:1d,1m:1w": [(0, DAY_MS // 4), (10_000, DAY_MS), (60_000, 7 * DAY_MS)],
}


@pytest.mark.parametrize(("text", "want"), RETENTIONS.items(), ids=RETENTIONS.keys())
def test_retentions(text: str, want: list[tuple[int, int | None]]) -> None:
    retention = load(data_dir=Path("/data"), environ={}, overrides=[f"store.retention={text}"]).store.retention
    assert [(tier.resolution_ms, tier.keep_ms) for tier in retention.tiers] == want
    assert retention.raw_ms == want[0][1]


WRONG = {  # override: the refusal, without the place at its end
    "web.listen=": "web.listen: '' is not an address; write host:port such as 127.0.0.1:8420 or [::1]:8420",
    "web.listen=8420": "web.listen: '8420' is not an address; write host:port such as 127.0.0.1:8420 or [::1]:8420",
    "web.listen=::1:80": "web.listen: '::1:80' is not an address; write host:port such as 127.0.0.1:8420 or [::1]:8420",
    "web.listen=localhost:65536": (
        "web.listen: 'localhost:65536' names port 65536; ports go from 0 (pick a free one) to 65535"
    ),
    "store.fsync=sometimes": "store.fsync: 'sometimes' is neither always, never nor an interval such as 200ms",
    "store.fsync=2m": (
        "store.fsync: '2m' is not in 1ms … 1m; write always for no loss at all, never to leave it to the kernel"
    ),
    "store.head_bytes_max=1KiB": "store.head_bytes_max: '1KiB' is less than the 1MiB it needs at least",
    "store.retention=1m:1y": (
        "store.retention: '1m:1y' starts with '1m:1y'; the first step is the raw samples, such as raw:90d"
    ),
    "store.retention=raw:1y,1m:30d": (
        "store.retention: step 1m:30d after raw:1y: finer samples cannot outlive their rollups"
    ),
    "store.retention=raw:forever,1m:1y": (
        "store.retention: step 1m:1y after raw:forever: finer samples cannot outlive their rollups"
    ),
    "store.retention=raw:1d,1m:2d,90s:3d": (
        "store.retention: step 90s:3d after 1m:2d: a resolution is a multiple of the one before it"
    ),
    "store.retention=raw": "store.retention: 'raw' is not resolution:duration, such as raw:90d or 1m:1y",
    "store.retention=raw:1s": "store.retention: 'raw:1s' keeps less than 1m",
    "store.retention=raw:1d,10ms:2d": (
        "store.retention: '10ms:2d' has a resolution under 1s; write raw for samples as they came"
    ),
    "store.series_count_max=0": "store.series_count_max: '0' is not in 1 … 2,147,483,647",
    "store.series_count_max=many": (
        "store.series_count_max: 'many' is not a count; write a whole number such as 2_147_483_647"
    ),
    "log.level=loud": "log.level: 'loud' is not a log level; write one of debug, info, warning, error",
    "store.fsinc=1s": "store.fsinc: there is no such setting; did you mean store.fsync?",
    "stor.fsync=1s": "stor.fsync: there is no such setting; did you mean store.fsync?",
    "STORE.FSYNC=1s": "STORE.FSYNC: there is no such setting; did you mean store.fsync?",
    "wal.retention=1d": "wal.retention: there is no such setting; did you mean store.retention?",
}


@pytest.mark.parametrize(("override", "want"), WRONG.items(), ids=WRONG.keys())
def test_wrong(override: str, want: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(data_dir=Path("/data"), environ={}, overrides=[override])
    assert str(refusal.value) == f"{want} (--set {override})"


SCHEMAS = """
[store]
fsync = "always"

[[store.schemas]]
name = "carbon"
pattern = "^carbon\\\\."
retention = "raw:7d,1m:30d"
resolution = "10s"

[[store.schemas]]
match = '{team="shop",env!~"a|\\"b"}'
retention = "forever"
"""


def test_schemas(tmp_path: Path) -> None:
    (tmp_path / "henge.toml").write_text(SCHEMAS)
    first, second = load(data_dir=tmp_path, environ={}).store.schemas
    assert (first.name, first.pattern, first.conditions, str(first.retention)) == (
        "carbon",
        "^carbon\\.",
        (),
        "raw:7d,1m:30d",
    )
    assert (first.resolution_ms, second.resolution_ms) == (10_000, 0)
    assert (second.name, second.conditions) == ("schema 2", (("team", "=", "shop"), ("env", "!~", 'a|"b')))
    assert second.retention.raw_ms is None


WRONG_SCHEMAS = {  # fields of the second schema: the refusal
    'retention = "raw:7d"': 'names no series; give it a pattern such as ^carbon\\. or a match such as {job="x"}',
    'pattern = "x"': "retention: is missing; write one such as raw:7d,1m:90d",
    'pattern = "x"\nretentions = "raw:7d"': "there is no field retentions; did you mean retention?",
    'pattern = "x"\nretention = 7': 'retention: 7 is not a text; write it in quotes, as "…"',
    'pattern = "x"\nretention = "1m:7d"': (
        "retention: '1m:7d' starts with '1m:7d'; the first step is the raw samples, such as raw:90d"
    ),
    'pattern = "x"\nretention = "raw:7d"\nresolution = "often"': (
        "resolution: 'often' is not a duration; write a whole number and a unit of ms, s, m, h, d, w, y, "
        "such as 200ms, 10s or 30d, or forever"
    ),
    'pattern = "x"\nretention = "raw:7d"\nresolution = "forever"': (
        "resolution: 'forever' is not a number of whole seconds, such as 10s"
    ),
    'pattern = "x"\nretention = "raw:7d"\nresolution = "1500ms"': (
        "resolution: '1500ms' is not a number of whole seconds, such as 10s"
    ),
    'pattern = "x"\nretention = "raw:7d,1m:30d"\nresolution = "7s"': (
        "resolution: '7s' is no part of the first rollup's, 1m:30d; they are its multiples"
    ),
    'pattern = "("\nretention = "raw:7d"': "pattern: the regular expression '(' is wrong: missing ): (",
    'match = "{a=b}"\nretention = "raw:7d"': (
        "match: 'a=b' is not label=\"value\" with one of = != =~ !~, commas in between"
    ),
}


@pytest.mark.parametrize(("fields", "want"), WRONG_SCHEMAS.items(), ids=WRONG_SCHEMAS.keys())
def test_a_wrong_schema_is_refused_with_its_line_and_the_way_out(tmp_path: Path, fields: str, want: str) -> None:
    (tmp_path / "henge.toml").write_text(
        f'[[store.schemas]]\npattern = "x"\nretention = "raw:7d"\n\n[[store.schemas]]\n{fields}\n'
    )
    with pytest.raises(ConfigError) as refusal:
        load(data_dir=tmp_path, environ={})
    assert str(refusal.value) == f"store.schemas: schema 2: {want} ({tmp_path / 'henge.toml'}, line 5)"


def test_what_resembles_nothing_is_refused_with_all_settings() -> None:
    with pytest.raises(ConfigError) as refusal:
        load(data_dir=Path("/data"), environ={}, overrides=["xyzzy=1"])
    assert all(setting.key in str(refusal.value) for setting in SETTINGS)


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set log.level: write section.key=value"):
        load(data_dir=Path("/data"), environ={}, overrides=["log.level"])


def test_an_unknown_variable_of_ours_is_refused_and_others_are_not_looked_at() -> None:
    load(data_dir=Path("/data"), environ={"HENGE_DATA": "/elsewhere", "OTHER__LOG__LEVEL": "x", "__": "x"})
    with pytest.raises(ConfigError) as refusal:
        load(data_dir=Path("/data"), environ={"HENGE_STORE__FSINC": "always"})
    assert str(refusal.value) == (
        "HENGE_STORE__FSINC: there is no such setting; did you mean HENGE_STORE__FSYNC? "
        "(environment HENGE_STORE__FSINC)"
    )


FILES = {  # name: (content, the refusal, {file} standing for its path)
    "an unknown key": (
        "[log]\nlevel = 'info'\n\n[store]\n# a comment\nfsinc = '1s'",
        "store.fsinc: there is no such setting; did you mean store.fsync? ({file}, line 6)",
    ),
    "an unknown section": (
        "[stor]\nfsync = '1s'",
        "stor.fsync: there is no such setting; did you mean store.fsync? ({file}, line 2)",
    ),
    "a wrong value": (
        "[store]\n\nfsync = 'sometimes'",
        "store.fsync: 'sometimes' is neither always, never nor an interval such as 200ms ({file}, line 3)",
    ),
    "a key outside of a section": ("xyzzy = 1", "xyzzy: there is no such setting; the settings are "),
    "a wrong type": (
        "[log]\nlevel = 3.5",
        'log.level: 3.5 is not a text or a whole number; write it in quotes, as "…" ({file}, line 2)',
    ),
    "a table in place of a value": (
        "[web.listen]\nhost = 'x'",
        "web.listen: {{'host': 'x'}} is not a text or a whole number; write it in quotes, as \"…\" ({file})",
    ),
    "an empty unknown section": ("[stor]", "[stor]: there is no such setting; "),
    "not TOML": ("[log\n", "{file}: this is not TOML: "),
}


@pytest.mark.parametrize(("content", "want"), FILES.values(), ids=FILES.keys())
def test_files(tmp_path: Path, content: str, want: str) -> None:
    path = tmp_path / "henge.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as refusal:
        load(data_dir=tmp_path, environ={})
    assert str(refusal.value).startswith(want.format(file=path))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; correct --config or leave it out"):
        load(data_dir=tmp_path, file=tmp_path / "absent.toml", environ={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(data_dir=tmp_path, file=tmp_path, environ={})
    (tmp_path / "latin.toml").write_bytes("[log]\n# für\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8 at byte 9; save it as UTF-8"):
        load(data_dir=tmp_path, file=tmp_path / "latin.toml", environ={})
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigError, match="is larger than 1MiB; this is not a settings file"):
        load(data_dir=tmp_path, file=tmp_path / "large.toml", environ={})


@given(st.text(max_size=40))
def test_any_value_of_any_setting_is_taken_or_refused_with_its_name(value: str) -> None:
    for setting in SETTINGS:
        try:
            load(data_dir=Path("/data"), environ={}, overrides=[f"{setting.key}={value}"])
        except ConfigError as refusal:
            assert str(refusal).startswith(f"{setting.key}: ")  # noqa: PT017 - Either outcome is right.


@given(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True) | st.ip_addresses().map(str), st.integers(0, 65535))
def test_addresses_come_back(host: str, port: int) -> None:
    assert parse_address(str(Address(host, port))) == Address(host, port)
