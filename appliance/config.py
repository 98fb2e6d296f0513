"""Configuration: the table of settings, filled from the file, the environment and the command line, in this order.

Whatever is wrong is refused before anything starts. The text names the setting, the value, the limit, the way out
and where the value came from, because a setting may stand in three places.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.retention import Retention, RetentionTier, SchemaError, SchemaRule
from appliance.settings import (
    SECTION_TYPES,
    SETTINGS,
    Address,
    BackupConfig,
    Fsync,
    GraphiteConfig,
    LogConfig,
    QueryConfig,
    Setting,
    StatsdConfig,
    StoreConfig,
    WebConfig,
)
from appliance.units import duration_ms, duration_text, size_bytes, size_text

__all__ = [
    "SETTINGS",
    "Address",
    "BackupConfig",
    "Config",
    "ConfigError",
    "Fsync",
    "GraphiteConfig",
    "LogConfig",
    "QueryConfig",
    "Retention",
    "RetentionTier",
    "SchemaRule",
    "Setting",
    "StatsdConfig",
    "StoreConfig",
    "WebConfig",
    "default_data_dir",
    "duration_ms",
    "duration_text",
    "from_texts",
    "load",
    "size_bytes",
    "size_text",
]

FILE_BYTES_MAX = 2**20  # A settings file has tens of lines; 1 MiB is a wrong file.
_ENVIRONMENT = "environment "
_SETTING_BY_KEY = {setting.key: setting for setting in SETTINGS}


class ConfigError(Exception):
    """The settings cannot be used; the text is for the person who wrote them."""

    code = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that a process is told about this appliance; never changed once loaded."""

    data_dir: Path  # Absolute.
    web: WebConfig
    graphite: GraphiteConfig
    statsd: StatsdConfig
    store: StoreConfig
    query: QueryConfig
    backup: BackupConfig
    log: LogConfig
    texts: Mapping[str, str]  # Every setting as it was written, by key; for pages.
    sources: Mapping[str, str]  # Where each setting that is not a default came from, by key; for pages.

    @property
    def run_dir(self) -> Path:
        """The folder of the sockets of this appliance (0700; the bus makes it)."""
        return self.data_dir / "run"


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as somebody wrote it, and where."""

    text: str
    source: str
    sources: tuple[str, ...] = ()  # Of each part, if it is a list of tables.


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """$HENGE_DATA, else $XDG_DATA_HOME/henge, else ~/.local/share/henge."""
    if data := environ.get("HENGE_DATA"):
        return Path(data)
    if xdg := environ.get("XDG_DATA_HOME"):
        return Path(xdg) / "henge"
    return Path("~/.local/share/henge")


def load(
    *,
    data_dir: Path | None = None,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Read the settings. Without file, henge.toml of the data folder is read when it exists.

    overrides: `section.key=value`, as after --set; a later one wins.
    Raises: ConfigError.
    """
    folder = _absolute(data_dir or default_data_dir(environ))
    path = _absolute(file) if file is not None else folder / "henge.toml"
    given: dict[str, _Given] = {}
    given.update(_from_file(path, must_exist=file is not None))
    given.update(_from_environment(environ))
    given.update(_from_overrides(overrides))
    return _config(folder, given)


def from_texts(data_dir: Path, texts: Mapping[str, str], sources: Mapping[str, str]) -> Config:
    """The settings again that somebody else has loaded. data_dir: absolute. Raises: ConfigError."""
    given = {key: _Given(texts[_known(key, key, source)], source) for key, source in sources.items()}
    return _config(data_dir, given)


def _config(folder: Path, given: Mapping[str, _Given]) -> Config:
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTION_TYPES}
    for setting in SETTINGS:
        found = given.get(setting.key) or _Given(setting.default, "the default")
        sections[setting.section][setting.field or setting.name] = _parsed(setting, found)
    return Config(
        data_dir=folder,
        texts={key: given[key].text if key in given else setting.default for key, setting in _SETTING_BY_KEY.items()},
        sources={key: value.source for key, value in given.items()},
        **{section: SECTION_TYPES[section](**values) for section, values in sections.items()},
    )


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow links that may change.
    except RuntimeError as error:
        raise ConfigError(f"{path}: the home folder is not known ({error}); give --data DIR") from error


def _parsed(setting: Setting, given: _Given) -> Any:
    try:
        return setting.parse(given.text)
    except SchemaError as error:
        source = given.sources[error.number - 1] if given.sources else given.source
        raise ConfigError(f"{setting.key}: {error} ({source})") from error
    except ValueError as error:
        raise ConfigError(f"{setting.key}: {error} ({given.source})") from error


def _known(key: str, written: str, source: str) -> str:
    """The key itself, if it is a setting. Raises: ConfigError, naming the nearest known key as it would be written."""
    if key in _SETTING_BY_KEY:
        return key
    near = difflib.get_close_matches(key.lower(), _SETTING_BY_KEY, n=1, cutoff=0.5)
    if not near:
        # A right name in a wrong section is nearer to people than to difflib.
        name = key.lower().rpartition(".")[2]
        near = [known for known, setting in _SETTING_BY_KEY.items() if setting.name == name]
    if not near:
        hint = f"the settings are {', '.join(_SETTING_BY_KEY)}"
    elif source.startswith(_ENVIRONMENT):
        hint = f"did you mean {_SETTING_BY_KEY[near[0]].environment_name}?"
    else:
        hint = f"did you mean {near[0]}?"
    raise ConfigError(f"{written}: there is no such setting; {hint} ({source})")


def _from_file(path: Path, *, must_exist: bool) -> dict[str, _Given]:
    text = _file_text(path, must_exist=must_exist)
    if text is None:
        return {}
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    line_by_key = dict(_lines_of_keys(text))
    given: dict[str, _Given] = {}
    for section, table in tables.items():
        entries = {f"{section}.{name}": value for name, value in table.items()} if isinstance(table, dict) else None
        for key, value in (entries if entries is not None else {section: table}).items():
            line = line_by_key.get(key)
            source = f"{path}, line {line}" if line else str(path)
            parts = len(value) if isinstance(value, list) else 0
            sources = tuple(f"{path}, line {line_by_key.get(f'{key}[{at}]', '?')}" for at in range(parts))
            given[_known(key, key, source)] = _Given(_value_text(key, value, source), source, sources)
        if entries == {} and section not in SECTION_TYPES:
            _known(section, f"[{section}]", str(path))
    return given


def _file_text(path: Path, *, must_exist: bool) -> str | None:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        if must_exist:
            raise ConfigError(f"{path}: there is no such file; correct --config or leave it out") from error
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {size_text(FILE_BYTES_MAX)}; this is not a settings file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _value_text(key: str, value: object, source: str) -> str:
    """TOML's strings, whole numbers and truths as text; a list of tables, as [[store.schemas]] makes one, as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return json.dumps(value, default=str)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    raise ConfigError(f'{key}: {value!r} is not a text or a whole number; write it in quotes, as "…" ({source})')


def _lines_of_keys(text: str) -> Iterator[tuple[str, int]]:
    """Where each key stands. tomllib does not tell; a key written in a way that this does not see has no line."""
    section = ""
    list_counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.\"'-]+)\s*\]", line):
            section = header[1].strip("\"'") + "."
        elif header := re.match(r"\s*\[\[\s*([\w.\"'-]+)\s*\]\]", line):
            key = header[1].replace('"', "").replace("'", "")
            count = list_counts[key] = list_counts.get(key, 0) + 1
            yield f"{key}[{count - 1}]", number
            if count == 1:
                yield key, number
            section = f"{key}[{count - 1}]."
        elif entry := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            yield section + re.sub(r"[\"']", "", entry[1]), number


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    """HENGE_SECTION__KEY. Names without a double underscore, such as HENGE_DATA, are not settings."""
    given = {}
    for name, value in environ.items():
        section, underscores, rest = name.removeprefix("HENGE_").partition("__")
        if name.startswith("HENGE_") and underscores:
            source = _ENVIRONMENT + name
            given[_known(f"{section}.{rest}".lower(), name, source)] = _Given(value, source)
    return given


def _from_overrides(overrides: Sequence[str]) -> dict[str, _Given]:
    given = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: write section.key=value, such as --set web.listen=127.0.0.1:0")
        key = key.strip()
        given[_known(key, key, f"--set {override}")] = _Given(value, f"--set {override}")
    return given
