"""Status lists and JSON paths: pure."""

from __future__ import annotations

from typing import Any

import pytest

from checks.probes.http.expectation import (
    JsonPathError,
    StatusError,
    json_at,
    json_holds,
    parse_json_path,
    parse_statuses,
)

DOCUMENT = {"a": {"b": [10, {"c d": "x"}], "n": None, "t": True, "f": 1.5, "s": "12"}, "": 1}


def test_status_lists() -> None:
    assert parse_statuses("200") == ((200, 200),)
    assert parse_statuses(" 200-299 , 401 ") == ((200, 299), (401, 401))


@pytest.mark.parametrize("text", ["", "abc", "200-", "99", "300-200", "200,,201", "600", "200;201", "2xx"])
def test_bad_status_lists_name_the_part(text: str) -> None:
    with pytest.raises(StatusError, match=r"status code|rising order"):
        parse_statuses(text)


PATHS: dict[str, Any] = {
    "$": DOCUMENT,
    "$.a.b[0]": 10,
    "a.b[0]": 10,
    "$.a.b[1]['c d']": "x",
    '$["a"].b[-1]["c d"]': "x",
    "$['']": 1,
}


@pytest.mark.parametrize(("path", "value"), PATHS.items())
def test_paths(path: str, value: Any) -> None:
    assert json_at(DOCUMENT, parse_json_path(path)) == value


@pytest.mark.parametrize("path", ["$..a", "$.a[*]", "$.a[1:2]", "$.a[", "$.a b", "$.a[?(@.b)]", "$x.y.", "$.a['b]"])
def test_bad_paths_name_the_place(path: str) -> None:
    with pytest.raises(JsonPathError, match="cannot read"):
        parse_json_path(path)


@pytest.mark.parametrize(("path", "so_far"), [("$.a.x.y", "$.a.x"), ("$.a.b[5]", "$.a.b[5]"), ("$.a.n.z", "$.a.n.z")])
def test_a_missing_step_is_named(path: str, so_far: str) -> None:
    with pytest.raises(KeyError) as caught:
        json_at(DOCUMENT, parse_json_path(path))
    assert caught.value.args == (so_far,)


@pytest.mark.parametrize(
    ("found", "operator", "wanted", "holds"),
    [
        (None, "exists", "", True),
        (5, "==", "5", True),
        (5, "==", "5.0", True),
        (5, "!=", "6", True),
        (True, "==", "true", True),
        (True, "==", "1", False),
        (None, "==", "null", True),
        ("ok", "==", "ok", True),
        ("ok", "==", "OK", False),
        ("12", ">", "9", True),
        (12, "<", "9", False),
        (9, ">=", "9", True),
        (9, "<=", "8", False),
        ("many", ">", "1", False),
        (True, ">", "0", False),
        (["a", 5], "contains", "5", True),
        (["a", 5], "contains", "b", False),
        ("all is well", "contains", "well", True),
        (5, "==", "five", False),
    ],
)
def test_comparisons(found: Any, operator: str, wanted: str, holds: bool) -> None:
    assert json_holds(found, operator, wanted) is holds
