"""Arrow streams by HTTP: what senders get to hear, and what is in the store afterwards."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from tests.web.house import House

PATH = "/api/v1/write/arrow"
TYPE = "application/vnd.apache.arrow.stream"


def send(house: House, body: bytes, *, role: str = "editor", **headers: str) -> Any:
    sent = {
        "Content-Type": TYPE,
        **house.token(role),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return house.app.test_client().post(PATH, data=body, headers=sent)


def stream(house: House, *rows: tuple[str | None, float], ahead_ms: int = 0, **options: Any) -> bytes:
    now_ms = house.services.clock.now_ms() + ahead_ms
    frame = pl.DataFrame({"series": [name for name, _ in rows], "value": [value for _, value in rows]}, orient="row")
    out = io.BytesIO()
    frame.with_columns(timestamp_ms=pl.lit(now_ms, pl.Int64)).write_ipc_stream(out, **options)
    return out.getvalue()


def values_of(house: House, selector: str) -> list[str]:
    found = house.call("GET", f"/prometheus/api/v1/query?query={selector}").json["data"]["result"]
    return [row["value"][1] for row in found]


def test_rows_are_stored_and_counted(house: House) -> None:
    answer = send(house, stream(house, ('arrow{row="1"}', 1.5), ("arrow;row=2", float("inf")), compression="zstd"))
    assert (answer.status_code, answer.json) == (200, {"accepted_count": 2, "refused": {}, "first_error": None})
    assert values_of(house, "arrow") == ["1.5", "+Inf"]


def test_bad_rows_are_counted_and_a_body_of_nothing_else_is_refused(house: House) -> None:
    partly = send(house, stream(house, ("arrow_partly", 1.0), (None, 2.0), ("m;t", 3.0)))
    assert partly.status_code == 200
    assert (partly.json["accepted_count"], partly.json["refused"]) == (1, {"null": 1, "bad_tag": 1})
    assert "null" in partly.json["first_error"]
    late = send(house, stream(house, ("arrow_future", 1.0), ahead_ms=86_400_000))
    assert (late.status_code, "store.future_max" in late.json["error"]["message"]) == (400, True)
    recent = house.services.ask("intake", "stats").body["recent_refusals"]
    found = next(refusal for refusal in recent if refusal["reason"] == "too_far_in_future")
    assert (found["protocol"], found["sender"]) == ("arrow", "editor None"), "whose clock is wrong is to be seen"


def test_what_is_no_stream_is_refused_with_a_clear_word(house: House) -> None:
    out = io.BytesIO()
    pl.DataFrame({"series": ["m"], "timestamp_ms": [1], "value": [1.0]}).write_ipc(out)
    for body, word in ((out.getvalue(), "file format"), (b"up 1\n", "not an Arrow IPC stream"), (b"", "no schema")):
        answer = send(house, body)
        assert (answer.status_code, word in answer.json["error"]["message"]) == (400, True), answer.json
    good = stream(house, ("never", 1.0))
    assert send(house, good, Content_Type="text/plain").status_code == 415
    assert send(house, good, Content_Encoding="gzip").status_code == 415
    assert send(house, good, role="viewer").status_code == 403
    assert values_of(house, "never") == []


def test_the_door_is_described(house: House) -> None:
    described = house.call("GET", "/api/v1/openapi.json").json["paths"][PATH]["post"]
    assert list(described["requestBody"]["content"]) == [TYPE]
