"""The pages of rule files: who may do what, what forms do without script, and how mistakes and health are shown."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from tests.web.house import House, csrf_of

TEXT = """groups:
- name: web
  rules:
  - {record: "job:up:sum", expr: sum by (job) (up)}
  - {alert: %s, expr: vector(1), for: 5m, labels: {severity: warning}}
"""


def made(house: House, name: str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "text": TEXT % name.title().replace(" ", ""), **more}
    answer = house.call("POST", "/api/v1/rules", body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json
    return created


@pytest.fixture(scope="module")
def file(house: House) -> dict[str, Any]:
    return made(house, "shown <here>")


def sent(house: House, path: str, *, role: str = "editor", **fields: str) -> Any:
    """A form without script."""
    client = house.client(role)
    return client.post(path, data={"csrf": csrf_of(client.get("/rules/new").text), **fields})


def live(file: dict[str, Any], *, error: str = "", **changes: Any) -> dict[str, Any]:
    """The one group of a file, as the scheduler shows it."""
    at = {"lastEvaluation": "2026-01-02T03:04:05.5Z", "evaluationTime": 0.002, "health": "err" if error else "ok"}
    alert = {
        "labels": {"alertname": "A", "job": "<b>"},
        "annotations": {"summary": "the words <i>"},
        "state": "firing",
        "activeAt": "2026-01-02T03:00:00Z",
        "value": "1e+00",
    } | changes
    rules = file["groups"][0]["rules"]
    return {
        "id": file["id"],
        "name": "web",
        "file": file["name"],
        **at,
        "rules": [
            {"type": "recording", "name": rules[0]["name"], **at, **({"lastError": error} if error else {})},
            {"type": "alerting", "name": rules[1]["name"], **at, "state": alert["state"], "alerts": [alert]},
        ],
    }


def test_without_rule_files_the_page_shows_an_example(fresh_house: House) -> None:
    house = fresh_house
    assert "No rules yet" not in house.client().get("/rules").text
    page = house.app.test_client().get("/rules", headers=house.token("editor")).text
    assert "No rules yet" in page
    assert "MemoryAlmostFull" in page
    assert "/rules/new?example=1" in page
    viewer = house.app.test_client().get("/rules", headers=house.token("viewer")).text
    assert "No rules yet" in viewer
    assert "/rules/new" not in viewer
    form = house.app.test_client().get("/rules/new?example=1", headers=house.token("editor")).text
    text = html.unescape(form[form.index("<textarea") : form.index("</textarea>")].partition(">\n")[2])
    tried = house.call("POST", "/api/v1/rules/try", {"text": text})
    assert tried.status_code == 200, "the example is a right one"


@pytest.mark.parametrize("role", ["admin", "editor", "viewer"])
def test_everyone_with_an_account_reads_them_and_editors_change_them(
    house: House, file: dict[str, Any], role: str
) -> None:
    client = house.client(role)
    listed, shown = client.get("/rules"), client.get(f"/rules/{file['id']}")
    assert (listed.status_code, shown.status_code) == (200, 200)
    assert "shown &lt;here&gt;" in listed.text
    may = role != "viewer"
    assert (">Delete<" in shown.text) is may
    assert ("Add a rule file" in listed.text) is may
    for path in ("/rules/new", f"/rules/{file['id']}/edit"):
        assert client.get(path).status_code == (200 if may else 403)
    assert house.client().get("/rules").headers["Location"].startswith("/login")


def test_nobody_of_another_team_sees_it(house: House) -> None:
    theirs = made(house, "of bakery", team="bakery")
    client, headers = house.app.test_client(), house.token("editor", "other")
    assert "of bakery" not in client.get("/rules", headers=headers).text
    for path in (f"/rules/{theirs['id']}", f"/rules/{theirs['id']}/edit"):
        assert client.get(path, headers=headers).status_code == 404
    for path in ("edit", "pause", "delete"):
        assert client.post(f"/rules/{theirs['id']}/{path}", headers=headers).status_code == 404


def test_a_file_is_added_changed_paused_and_deleted_without_script(house: House) -> None:
    saved = sent(house, "/rules/new", name="by hand", text=(TEXT % "ByHand").replace("\n", "\r\n"), do="save")
    assert saved.status_code == 303
    path = saved.headers["Location"]
    stored = house.call("GET", f"/api/v1{path}").json
    assert stored["text"] == TEXT % "ByHand", "as it was written, not with the line ends of browsers"
    changed = sent(house, f"{path}/edit", name="by hand 2", text=TEXT % "ByHand", do="save")
    assert changed.status_code == 303
    assert sent(house, f"{path}/pause").status_code == 303
    stored = house.call("GET", f"/api/v1{path}").json
    assert (stored["name"], stored["paused"]) == ("by hand 2", True)
    assert "is paused" in house.client("viewer").get(path).text
    assert sent(house, f"{path}/resume").status_code == 303
    assert sent(house, f"{path}/delete", role="viewer").status_code == 403
    assert sent(house, f"{path}/delete").status_code == 303
    assert house.call("GET", f"/api/v1{path}").status_code == 404


def test_mistakes_are_marked_with_their_line_and_words(house: House) -> None:
    text = "groups:\n- name: web\n  rules:\n  - {alert: A, expr: '<sum('}\n  - {expr: up}\n"
    for do, status in (("save", 422), ("try", 200)):
        page = sent(house, "/rules/new", name="bad", text=text, do=do)
        assert page.status_code == status
        faults = html.unescape(re.sub(r"\s+", " ", page.text[page.text.index('id="faults"') :]))
        assert "2 mistakes in the text" in faults
        assert '<a href="#text" data-line="4">Line 4</a>: could not parse expression of rule "A": ' in faults
        assert "<mark>- {alert: A, expr: '<sum('}</mark>" in faults
        assert """Line 5</a>: one of 'record' or 'alert' must be set""" in faults
        assert html.escape(text, quote=False).replace("'", "&#39;") in page.text, "what was written stays in the form"
    assert house.call("GET", "/api/v1/rules?name=bad").json["items"] == []


def test_what_is_wrong_with_other_fields_stands_beside_them(house: House, file: dict[str, Any]) -> None:
    taken = sent(house, "/rules/new", name=file["name"], text=TEXT % "Taken", do="save")
    assert taken.status_code == 422
    assert "has a rule file named" in taken.text
    unknown = sent(house, "/rules/new", name="x", text=TEXT % "X", channels="nobody", do="save")
    assert "no channel &#39;nobody&#39;" in unknown.text


def test_a_trial_shows_what_there_would_be(house: House) -> None:
    page = sent(house, "/rules/trial", text=TEXT % "Tried")
    assert page.status_code == 200
    words = re.sub(r"<[^>]*>|\s+", " ", page.text)
    assert re.search(r"1 alert pending\s+Tried", words)
    assert "would fire after 5 min" in words
    assert "alertname=&#34;Tried&#34;" in words
    assert re.search(r"0 series\s+job:up:sum", words)
    assert sent(house, "/rules/trial", role="viewer", text=TEXT % "Tried").status_code == 403


def test_health_and_alerts_are_as_the_scheduler_says(house: House) -> None:
    file = made(house, "healthy")
    house.rule_groups = [live(file)]
    client = house.client("viewer")
    shown = client.get(f"/rules/{file['id']}").text
    assert "firing" in shown
    assert "the words &lt;i&gt;" in shown
    assert "job=&#34;&lt;b&gt;&#34;" in shown
    row = client.get("/rules").text.partition(">healthy<")[2].partition("</tr>")[0]
    assert "1 firing" in row
    assert "2026-01-02T03:04:05.500Z" in row
    api = house.call("GET", f"/api/v1/rules/{file['id']}").json
    recording, alerting = api["groups"][0]["rules"]
    assert (recording["health"], recording["last_evaluation_ms"]) == ("ok", 1_767_323_045_500)
    assert (alerting["state"], alerting["alerts"][0]["active_at_ms"]) == ("firing", 1_767_322_800_000)

    house.rule_groups = [live(file, error="many-to-many <matching>")]
    assert "many-to-many &lt;matching&gt;" in client.get(f"/rules/{file['id']}").text
    assert "2 rules fail" in client.get("/rules").text.partition(">healthy<")[2].partition("</tr>")[0]


PILLS = {  # severity, state: the pill
    (None, "firing"): "critical",
    ("page", "firing"): "critical",
    ("Warning", "firing"): "warning",
    ("info", "firing"): "warning",
    ("critical", "pending"): "pending",
}


@pytest.mark.parametrize(("severity", "state"), PILLS)
def test_an_alert_is_as_bad_as_its_check_and_tells_the_words_that_it_has(
    house: House, severity: str | None, state: str
) -> None:
    file = made(house, f"as bad as {severity} {state}")
    labels = {"alertname": "A"} | ({"severity": severity} if severity else {})
    house.rule_groups = [live(file, labels=labels, state=state, annotations={"description": "only <described>"})]
    client = house.client("viewer")
    page = client.get(f"/rules/{file['id']}").text
    assert re.search(rf'<span class="state {PILLS[severity, state]}">.*?</svg>{state}</span>', page)
    assert "only &lt;described&gt;" in page
    row = client.get("/rules").text.partition(f">{file['name']}<")[2].partition("</tr>")[0]
    assert re.search(rf'<span class="state {PILLS[severity, state]}">[^%]*?</svg>1 {state}</span>', row)


def test_a_group_that_was_changed_meanwhile_waits_for_its_evaluation(house: House) -> None:
    file = made(house, "changed since")
    old = live(file)
    old["rules"].reverse()
    house.rule_groups = [old]
    api = house.call("GET", f"/api/v1/rules/{file['id']}").json
    assert {rule["health"] for rule in api["groups"][0]["rules"]} == {"unknown"}
    assert api["groups"][0]["last_evaluation_ms"] is None


def test_the_check_of_a_rule_leads_to_its_file(house: House, file: dict[str, Any]) -> None:
    check_id = file["groups"][0]["rules"][1]["check_id"]
    page = house.client("editor").get(f"/checks/{check_id}").text
    assert f'belongs to the rule file <a href="/rules/{file["id"]}">shown &lt;here&gt;</a>' in page
    assert ">Delete<" not in page
    assert ">Edit<" not in page
    assert "Run now" in page
    assert "Begin now" in page
    edit = house.client("editor").get(f"/checks/{check_id}/edit")
    assert (edit.status_code, edit.headers["Location"]) == (303, f"/rules/{file['id']}/edit")
    refused = sent(house, f"/checks/{check_id}/delete")
    assert refused.status_code == 409
    assert "belongs to the rule file" in refused.text
