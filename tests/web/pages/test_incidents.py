"""The list of incidents when there are many."""

from __future__ import annotations

import msgspec

from appliance.state import PutDocument
from checks.incidents import Incident
from tests.web.house import House

RESOLVED_COUNT, OPEN_COUNT = 30, 120


def incident(number: int, state: str) -> PutDocument:
    body = Incident(
        id=f"{state}{number}",
        check_id="c",
        title="t",
        state="open" if state == "open" else "resolved",
        current="critical",
        worst="critical",
        output="refused",
        started_at_ms=1_000 + number,
        resolved_at_ms=None if state == "open" else 9_000,
        updated_at_ms=1,
    )
    return PutDocument(kind="incident", id=f"{state}{number}", body=msgspec.to_builtins(body))


def test_a_page_holds_a_hundred_open_ones_first_the_newest_of_each_before(fresh_house: House) -> None:
    numbers = [("resolved", number) for number in range(RESOLVED_COUNT)] + [("open", n) for n in range(OPEN_COUNT)]
    fresh_house.services.state.apply([incident(number, state) for state, number in numbers], actor="test")

    def shown(page: int) -> list[str]:
        text = fresh_house.call("GET", f"/incidents?page={page}").text
        return [piece.partition('"')[0] for piece in text.split('href="/incidents/')[1:]]

    newest_first = [f"open{number}" for number in reversed(range(OPEN_COUNT))]
    newest_first += [f"resolved{number}" for number in reversed(range(RESOLVED_COUNT))]
    assert shown(1) == newest_first[:100]
    assert shown(2) == newest_first[100:]
    listed = fresh_house.call("GET", "/api/v1/incidents?state=resolved&limit=2&offset=1").json
    assert ([entry["id"] for entry in listed["items"]], listed["total_count"]) == (["resolved28", "resolved27"], 30)
