"""Graphite's globs on the sorted names, against fnmatch on every part of every name."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import HOUR_MS, NOW_MS, append, labels, open_engine
from tests.tsdb.store.test_postings import index_of
from tsdb.answer import PathNode
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import Matcher, MatchOp, canonical_bytes
from tsdb.store.index import SeriesIndex
from tsdb.store.paths import Found, Glob, nodes_of

segments = st.sampled_from(["a", "b", "ab", "a-b", "a1", "ü", "", "/", "-"])
names = st.lists(segments, min_size=1, max_size=4).map(".".join).filter(bool)
globs = st.sampled_from(
    ["a", "b", "*", "a*", "*b", "?", "a?", "[ab]", "[!a]*", "{a,b}", "{a,b*}1", "a{,-b}", "ü", "[a-b]*", "", "**"]
)


@pytest.fixture(autouse=True, scope="module", params=[0, 16], ids=["by columns", "one by one"])
def _small_parts(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 3)
        patch.setattr("tsdb.store.kept_trees._STEP_COUNT", 2)
        patch.setattr("tsdb.store.path_tree._STEP_COUNT", 2)
        patch.setattr("tsdb.store.path_tree._CELLS_AT_ONCE", 5)
        patch.setattr("tsdb.store.path_tree._ONE_BY_ONE_COUNT_MAX", request.param)
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


def found_in(index: SeriesIndex, pattern: str, living: Sequence[int] | None = None) -> list[PathNode]:
    found = Found()
    is_alive = None if living is None else lambda ids: np.isin(ids, np.array(living, np.int32))
    index.find_paths(Glob(pattern), found, is_alive)
    return nodes_of(found)


@given(st.lists(names, unique=True, max_size=15), st.lists(globs, min_size=1, max_size=4), st.sets(st.integers(0, 14)))
def test_globs_find_what_fnmatch_finds_part_by_part(names: list[str], pattern: list[str], alive: set[int]) -> None:
    index = index_of(*(labels(name=name) for name in names), labels(job="no name"))
    assert found_in(index, ".".join(pattern)) == nodes(names, pattern)
    living = sorted(one for one in alive if one < len(names))
    assert found_in(index, ".".join(pattern), living) == nodes([names[one] for one in living], pattern)


def test_names_with_other_labels_are_no_paths() -> None:
    index = index_of(
        labels(name="a.b"), labels(name="a.c", job="x"), labels(job="y"), labels(name="a.d"), labels(name="e", b="")
    )
    assert [node.path for node in found_in(index, "**")] == ["a", "a.b", "a.d", "e"]


def test_the_work_goes_with_the_nodes_and_not_with_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.index._INDEX_STEP_COUNT", 10_000)
    names = [f"servers.host{h:02d}.metric{m:03d}" for h, m in itertools.product(range(20), range(300))]
    index = index_of(*(labels(name=name) for name in names))
    monkeypatch.setattr("tsdb.store.paths._NODES_LOOKED_AT_MAX", 25)
    assert len(found_in(index, "servers.*")) == 20
    assert len(found_in(index, "servers.host0?")) == 10
    assert found_in(index, "servers.host07.metric{000,299,x}") == [
        PathNode("servers.host07.metric000", is_leaf=True, is_branch=False),
        PathNode("servers.host07.metric299", is_leaf=True, is_branch=False),
    ]
    with pytest.raises(QueryTooLarge, match=r"more than 25 nodes; write more"):
        found_in(index, "servers.*.*")


def test_names_that_come_after_a_search_are_found_by_the_next() -> None:
    index = index_of(labels(name="a.b"))
    assert [node.path for node in found_in(index, "a.*")] == ["a.b"]
    index.add([canonical_bytes(labels(name="a.c")), canonical_bytes(labels(name="d"))])
    assert [node.path for node in found_in(index, "a.*")] == ["a.b", "a.c"]


def test_leaves_of_a_range_are_the_names_of_the_series_that_it_has() -> None:
    """Goal: paths agree with the values of __name__, which are looked up by another way, in every part of the store."""
    engine = open_engine(MemoryDisk(), out_of_order_window_ms=99 * HOUR_MS)
    engine_rows = [(labels(name=f"{'ab'[at % 2]}.n{at % 7}.m{at}"), NOW_MS + at * HOUR_MS, 1) for at in range(24)]
    append(engine, engine_rows[:8])
    engine.flush()
    append(engine, engine_rows[4:16])
    engine.delete([Matcher("__name__", MatchOp.REGEX, "a.*")], NOW_MS + 2 * HOUR_MS, NOW_MS + 5 * HOUR_MS)
    engine.flush()
    engine.delete([Matcher("__name__", MatchOp.REGEX, ".*m9")], 0, 2**60)
    append(engine, [*reversed(engine_rows[12:]), *engine_rows[:2]])
    for is_sorted in (False, True):
        if is_sorted:
            engine._head.runs[-1].sort()
            engine._head.runs[-1]._is_closed = True
        for start, end in itertools.combinations(range(-1, 26, 3), 2):
            range_ms = (NOW_MS + start * HOUR_MS, NOW_MS + end * HOUR_MS - 1)
            leaves = [node.path for node in engine.names.find_paths("**", *range_ms) if node.is_leaf]
            assert leaves == engine.names.label_values("__name__", *range_ms), (is_sorted, start, end)
            assert len(leaves) < 24


@pytest.mark.parametrize("pattern", ["a{b", "a[b", "a}", "{{a}}", "a]b", "{a]", "[a}"])
def test_wrong_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(RefusedQuery, match="the pattern"):
        found_in(index_of(labels(name="a")), pattern)


@pytest.mark.parametrize("pattern", ["[]", "[!]", "[z-a]"])
def test_brackets_that_mean_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(RefusedQuery, match="the regular expression"):
        found_in(index_of(labels(name="a")), pattern)
