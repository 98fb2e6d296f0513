"""Operators between vectors, by table: instant vectors as `label=value,… number`, one a line."""

from __future__ import annotations

import pytest

from tsdb.errors import QueryFailed
from tsdb.query import promql
from tsdb.query.rules.memory import MemorySeries

SERIES = {
    "a": [({"x": "1"}, 1.0), ({"x": "2"}, 2.0), ({"x": "3"}, 3.0)],
    "b": [({"x": "1"}, 10.0), ({"x": "2"}, 20.0), ({"x": "4"}, 40.0)],
    "many": [({"x": "1", "y": "p"}, 100.0), ({"x": "1", "y": "q"}, 200.0), ({"x": "2", "y": "p"}, 300.0)],
    "info": [({"x": "1", "v": "old"}, 1.0), ({"x": "2", "v": "new"}, 1.0)],
}

TABLE = {  # expression: the answer
    "a + b": "x=1 11; x=2 22",
    "a - on (x) b": "x=1 -9; x=2 -18",
    "a * ignoring (x) b": QueryFailed,
    "a > 1": "__name__=a,x=2 2; __name__=a,x=3 3",
    "2 > a": "__name__=a,x=1 1",
    "a > bool 1": "x=1 0; x=2 1; x=3 1",
    "b > a": "__name__=b,x=1 10; __name__=b,x=2 20",
    "b == bool a * 10": "x=1 1; x=2 1",
    "a > on (x) b": "",
    "many / on (x) b": QueryFailed,
    "many == on (x) (b * 10)": QueryFailed,
    "many > on (x) b": QueryFailed,
    "many > bool on (x) b": QueryFailed,
    "many / on (x) group_left () b": "x=1,y=p 10; x=1,y=q 20; x=2,y=p 15",
    "b / on (x) group_right () many": "x=1,y=p 0.1; x=1,y=q 0.05; x=2,y=p 0.06666666666666667",
    "many * on (x) group_left (v) info": "v=old,x=1,y=p 100; v=old,x=1,y=q 200; v=new,x=2,y=p 300",
    "a / on (x) group_left () many": QueryFailed,
    "a and b": "__name__=a,x=1 1; __name__=a,x=2 2",
    "a unless b": "__name__=a,x=3 3",
    "a or b": "__name__=a,x=1 1; __name__=a,x=2 2; __name__=a,x=3 3; __name__=b,x=4 40",
    "many and on (x) (b == 20)": "__name__=many,x=2,y=p 300",
    "a + fill (0) b": "x=1 11; x=2 22; x=3 3; x=4 40",
    "-a": "x=1 -1; x=2 -2; x=3 -3",
    "a % 2 ^ 2": "x=1 1; x=2 2; x=3 3",
    '-{x="1"}': QueryFailed,
    "sum by (x) (many) - a": "x=1 299; x=2 298",
    "absent(a)": "",
    'absent(nothing{x="1", y=~"2"})': "x=1 1",
    'absent(nothing{x!="2", x="1"})': "x=1 1",
    'absent(nothing{x="1", x!="2", y="1"})': "y=1 1",
    'absent(nothing{x="1", x="1", y="1"})': "y=1 1",
}


@pytest.fixture
def source() -> MemorySeries:
    source = MemorySeries()
    for name, rows in SERIES.items():
        for labels, value in rows:
            source.add(labels | {"__name__": name}, [(0, value)])
    return source


@pytest.mark.parametrize(("expression", "wanted"), TABLE.items(), ids=TABLE.keys())
def test_operators(expression: str, wanted: str | type[Exception], source: MemorySeries) -> None:
    if not isinstance(wanted, str):
        with pytest.raises(wanted):
            promql.instant(expression, 0, source)
        return
    answer = promql.instant(expression, 0, source)
    rows = [
        f"{','.join(f'{name}={text}' for name, text in sorted(labels.items()))} {value:.16g}"
        for labels, value in zip(answer.labels, answer.value.tolist(), strict=True)
    ]
    assert sorted(rows) == sorted(filter(None, wanted.split("; ")))


def test_an_ambiguous_match_is_an_error_only_at_the_steps_where_it_is_ambiguous() -> None:
    source = MemorySeries()
    source.add({"__name__": "left"}, [(0, 1.0), (600_000, 2.0)])
    source.add({"__name__": "right", "v": "old"}, [(0, 10.0)])
    source.add({"__name__": "right", "v": "new"}, [(600_000, 20.0)])
    answer = promql.range_("left + on () right", 0, 600_000, 600_000, source)
    assert answer.value.tolist() == [11.0, 22.0]
    source.add({"__name__": "right", "v": "new"}, [(0, 20.0)])
    with pytest.raises(QueryFailed, match=r"found duplicate series for the match group \{\} on the right hand-side"):
        promql.range_("left + on () right", 0, 600_000, 600_000, source)


def test_rows_that_become_equal_are_united_where_they_do_not_overlap() -> None:
    source = MemorySeries()
    source.add({"__name__": "old"}, [(0, 1.0)])
    source.add({"__name__": "new"}, [(600_000, 2.0)])
    answer = promql.range_('abs({__name__=~"old|new"})', 0, 600_000, 600_000, source)
    assert (answer.labels, answer.value.tolist()) == ([{}], [1.0, 2.0])
    source.add({"__name__": "new"}, [(0, 2.0)])
    with pytest.raises(QueryFailed, match="vector cannot contain metrics with the same labelset"):
        promql.range_('abs({__name__=~"old|new"})', 0, 600_000, 600_000, source)
