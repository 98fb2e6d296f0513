"""What the code declares in passing: the metrics it counts and the errors it answers, read from its source.

Read, not run: a metric exists only in the process that counts it, and an error only when it happens.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import appliance
import checks
import scheduler
import tsdb
import web
from web.errors import STATUS_BY_CODE

ROOMS: tuple[ModuleType, ...] = (appliance, tsdb, checks, scheduler, web)
METRIC_PREFIX = "henge_"


@dataclass(frozen=True, slots=True, order=True)
class DeclaredMetric:
    name: str
    kind: str
    text: str


@dataclass(slots=True)
class _Error:
    statuses: set[int]
    texts: list[str]


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted(Path(inspect.getfile(room)).parent.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def metrics() -> list[DeclaredMetric]:
    """Every counter and gauge, by name. A name that is put together is followed to the table that it comes from."""
    found: set[DeclaredMetric] = set()
    for path, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            kind, name = node.func.attr, node.args[0]
            if kind not in ("counter", "gauge"):
                continue
            if isinstance(name, ast.Constant) and str(name.value).startswith(METRIC_PREFIX):
                text = ast.literal_eval(node.args[1]) if len(node.args) > 1 else ""
                found.add(DeclaredMetric(str(name.value), kind, text))
            elif isinstance(name, ast.JoinedStr):
                found.update(_of_table(path, tree, name, kind))
    return sorted(found)


def _of_table(path: Path, tree: ast.Module, name: ast.JoinedStr, kind: str) -> Iterator[DeclaredMetric]:
    """The metrics of a loop over a table of (key, sentence), which is how the store declares its own."""
    start = name.values[0]
    assert isinstance(start, ast.Constant), f"{path}:{name.lineno}: a metric whose name has no beginning"
    assert isinstance(start.value, str), start.value
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str(key)), ast.Constant(value=str(sentence))]) if " " in sentence:
                yield DeclaredMetric(f"{start.value}{key}", kind, sentence)


def errors() -> list[tuple[str, tuple[int, ...], str]]:
    """(code, its statuses, what is said) of every refusal, by code."""
    found = {code: _Error({status}, []) for code, status in STATUS_BY_CODE.items()}
    for code, status, text in _declared_errors():
        error = found.setdefault(code, _Error(set(), []))
        if status is not None:
            error.statuses.add(status)
        if text:
            error.texts.append(text)
    return [
        (code, tuple(sorted(one.statuses)), one.texts[0] if one.texts else "") for code, one in sorted(found.items())
    ]


def _declared_errors() -> Iterator[tuple[str, int | None, str]]:
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal":
                yield from _refusal(node)
            elif isinstance(node, ast.ClassDef) and (code := _code_of(node)):
                yield code, None, (ast.get_docstring(node) or "").partition("\n")[0]


def _refusal(node: ast.Call) -> Iterator[tuple[str, int | None, str]]:
    if len(node.args) < 3:
        return
    status, code, message = node.args[:3]
    if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
        yield str(code.value), int(str(status.value)), _template(message)


def _template(message: ast.expr) -> str:
    """A message with an ellipsis where a value stands."""
    match message:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_template(part) for part in parts)
        case ast.FormattedValue():
            return "…"
    return ""


def _code_of(node: ast.ClassDef) -> str:
    """The code of a class of errors, which says it as `code = "…"`."""
    for line in node.body:
        target = (
            line.targets[0]
            if isinstance(line, ast.Assign)
            else line.target
            if isinstance(line, ast.AnnAssign)
            else None
        )
        value = line.value if isinstance(line, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "code" and isinstance(value, ast.Constant) and value.value:
            return str(value.value)
    return ""
