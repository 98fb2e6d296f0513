"""Graphite's globs on the sorted names, against fnmatch on every part of every name."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.stores import labels
from tests.tsdb.store.test_postings import index_of
from tsdb.answer import PathNode
from tsdb.errors import QueryTooLarge, RefusedQuery

segments = st.sampled_from(["a", "b", "ab", "a-b", "a1", "ü", "", "/", "-"])
names = st.lists(segments, min_size=1, max_size=4).map(".".join).filter(bool)
globs = st.sampled_from(
    ["a", "b", "*", "a*", "*b", "?", "a?", "[ab]", "[!a]*", "{a,b}", "{a,b*}1", "a{,-b}", "ü", "[a-b]*", "", "**"]
)


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 3)
        yield


def alternatives(glob: str) -> list[str]:
    before, brace, rest = glob.partition("{")
    if not brace:
        return [glob]
    inside, _, after = rest.partition("}")
    return [before + choice + more for choice in inside.split(",") for more in alternatives(after)]


def fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return any(fits(parts[count:], pattern[1:]) for count in range(1, len(parts) + 1))
    is_alike = any(fnmatch.fnmatchcase(parts[0], one) for one in alternatives(pattern[0]))
    return is_alike and fits(parts[1:], pattern[1:])


def nodes(names: list[str], pattern: list[str]) -> list[PathNode]:
    """The dumb twin: every name, part by part."""
    found: dict[str, tuple[bool, bool]] = {}
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            if fits(parts[:count], pattern):
                path = ".".join(parts[:count])
                leaf, branch = found.get(path, (False, False))
                is_whole = len(parts) == count
                found[path] = (leaf or is_whole, branch or not is_whole)
    return [PathNode(path, *kinds) for path, kinds in sorted(found.items(), key=lambda item: item[0].encode())]


@given(st.lists(names, unique=True, max_size=15), st.lists(globs, min_size=1, max_size=4), st.sets(st.integers(0, 14)))
def test_globs_find_what_fnmatch_finds_part_by_part(names: list[str], pattern: list[str], alive: set[int]) -> None:
    index = index_of(*(labels(name=name) for name in names), labels(job="no name"))
    assert index.find_paths(".".join(pattern)) == nodes(names, pattern)
    living = sorted(one for one in alive if one < len(names))
    found = index.find_paths(".".join(pattern), among=np.array(living, np.int32))
    assert found == nodes([names[one] for one in living], pattern)


def test_names_with_other_labels_are_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 2)
    index = index_of(
        labels(name="a.b"), labels(name="a.c", job="x"), labels(job="y"), labels(name="a.d"), labels(name="e", b="")
    )
    bare = index.bare_names(np.arange(5, dtype=np.int32))
    assert [node.path for node in index.find_paths("**", bare)] == ["a", "a.b", "a.d", "e"]


def test_the_work_goes_with_the_nodes_and_not_with_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 10_000)
    names = [f"servers.host{h:02d}.metric{m:03d}" for h, m in itertools.product(range(20), range(300))]
    index = index_of(*(labels(name=name) for name in names))
    monkeypatch.setattr("tsdb.store.paths._NODES_LOOKED_AT_MAX", 25)
    assert len(index.find_paths("servers.*")) == 20
    assert len(index.find_paths("servers.host0?")) == 10
    assert index.find_paths("servers.host07.metric{000,299,x}") == [
        PathNode("servers.host07.metric000", is_leaf=True, is_branch=False),
        PathNode("servers.host07.metric299", is_leaf=True, is_branch=False),
    ]
    with pytest.raises(QueryTooLarge, match=r"more than 25 nodes; write more"):
        index.find_paths("servers.*.*")


@pytest.mark.parametrize("pattern", ["a{b", "a[b", "a}", "{{a}}", "a]b", "{a]", "[a}"])
def test_wrong_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(RefusedQuery, match="the pattern"):
        index_of(labels(name="a")).find_paths(pattern)


@pytest.mark.parametrize("pattern", ["[]", "[!]", "[z-a]"])
def test_brackets_that_mean_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(RefusedQuery, match="the regular expression"):
        index_of(labels(name="a")).find_paths(pattern)
