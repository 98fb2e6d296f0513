"""`henge rules load`, `list`, `show` and `remove` on a running appliance."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import henge
from tests.running import Appliance
from tests.waiting import wait_until

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("rules")) as running:
        body = {"kind": "webhook", "name": "hook", "options": {"url": "http://127.0.0.1:9/"}}
        assert running.call("POST", "/api/v1/channels", body)[0] == 201
        yield running


@pytest.fixture
def run(appliance: Appliance) -> Iterator[Run]:
    """`henge rules …` → its result; afterwards no rule file is there."""

    def runs(*arguments: str | Path) -> Result:
        words = [*map(str, arguments), "--data", str(appliance.data_dir)]
        return CliRunner().invoke(henge, ["rules", *words])

    yield runs
    for item in appliance.call("GET", "/api/v1/rules")[1]["items"]:
        assert appliance.call("DELETE", f"/api/v1/rules/{item['id']}")[0] == 200


def write(folder: Path, **alerts_by_name: list[str]) -> Path:
    for name, alerts in alerts_by_name.items():
        rules = [{"alert": alert, "expr": "vector(0) > 1"} for alert in alerts]
        (folder / f"{name}.yml").write_text(json.dumps({"groups": [{"name": name, "rules": rules}]}))
    return folder


def checks(appliance: Appliance) -> dict[str, Any]:
    """Name → the check of a rule."""
    items = appliance.call("GET", "/api/v1/checks?limit=1000")[1]["items"]
    return {item["name"]: item for item in items if item["rules"]}


def test_a_folder_is_loaded_again_and_again(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    write(tmp_path, disks=["Full", "Slow"], web=["Down"])
    (tmp_path / "notes.txt").write_text("not a rule file")
    first = run("load", tmp_path, "--channel", "hook")
    assert first.exit_code == 0, first.output
    assert first.output == "created    disks  (2 rules in 1 group)\ncreated    web  (1 rule in 1 group)\n"
    before = checks(appliance)
    assert before.keys() == {"Full", "Slow", "Down"}
    assert before["Full"]["channels"] == ["hook"]

    write(tmp_path, disks=["New", "Full"])
    second = run("load", tmp_path)
    assert second.output == "changed    disks  (2 rules in 1 group)\nunchanged  web  (1 rule in 1 group)\n"
    after = checks(appliance)
    assert after.keys() == {"New", "Full", "Down"}
    assert after["Full"] == before["Full"], "a rule that stays keeps its check, and the file its channels"


def test_a_bad_file_changes_nothing(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    write(tmp_path, a=["A"], c=["C"])
    (tmp_path / "b.yml").write_text("groups:\n- name: b\n  rules:\n  - {alert: B, expr: sum(}\n")
    answer = run("load", tmp_path)
    assert answer.exit_code == 1
    lines = answer.stderr.splitlines()
    assert lines[0].startswith(f'{tmp_path}/b.yml:4: could not parse expression of rule "B": ')
    assert lines[1:] == ["nothing was changed"]
    assert checks(appliance) == {}


def test_what_is_refused_otherwise_changes_nothing_either(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    write(tmp_path, a=["A"])
    answer = run("load", tmp_path, "--channel", "nobody")
    assert answer.exit_code == 1
    assert "no channel 'nobody'; the channels are hook" in str(answer.exception)
    (tmp_path / "a.yaml").write_text((tmp_path / "a.yml").read_text())
    answer = run("load", tmp_path)
    assert "would both be named 'a'; rename one" in str(answer.exception)
    assert checks(appliance) == {}


def test_files_of_one_load_share_the_names_of_checks(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    assert run("load", write(tmp_path, a=["Down"], b=["Down"])).exit_code == 0
    assert checks(appliance).keys() == {"Down", "b/Down"}


def test_prune_removes_the_others_of_the_team(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    write(tmp_path, a=["A"], b=["B"])
    run("load", tmp_path)
    run("load", tmp_path / "a.yml", "--team", "shop")
    dry = run("load", tmp_path / "b.yml", "--prune", "--dry-run")
    assert dry.output.split() == ["would", "be", "removed", "a", "unchanged", "b", "(1", "rule", "in", "1", "group)"]
    assert len(appliance.call("GET", "/api/v1/rules")[1]["items"]) == 3
    pruned = run("load", tmp_path / "b.yml", "--prune")
    assert pruned.output == "removed    a\nunchanged  b  (1 rule in 1 group)\n"
    left = appliance.call("GET", "/api/v1/rules")[1]["items"]
    assert [(item["team"], item["name"]) for item in left] == [("shop", "a"), ("default", "b")]


def test_a_pruned_file_frees_the_names_of_its_checks(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    run("load", write(tmp_path, old=["Down"]))
    (tmp_path / "old.yml").rename(tmp_path / "new.yml")
    assert run("load", tmp_path, "--prune").exit_code == 0
    assert checks(appliance).keys() == {"Down"}


def test_rule_files_are_listed_shown_and_removed(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    assert "no rule file yet" in run("list").output
    run("load", write(tmp_path, web=["Down", "Slow"]), "--channel", "hook")
    listed = run("list").output
    assert "default    web  —  2 rules in 1 group, 2 of them alerts; tells hook" in listed
    (view,) = json.loads(run("list", "--json").output)
    assert (view["name"], view["alert_count"]) == ("web", 2)
    shown = run("show", "web").output.splitlines()
    assert shown[1] == "  web, every 60 s"
    assert shown[2].startswith("    alert   Down  check ")
    assert run("show", view["id"], "--text").output == (tmp_path / "web.yml").read_text() + "\n"
    assert json.loads(run("show", "web", "--json").output)["groups"][0]["rules"][1]["name"] == "Slow"
    removed = run("remove", "web")
    assert removed.output == f"removed web ({view['id']}) and 2 checks\n"
    assert checks(appliance) == {}
    again = run("remove", "web")
    assert str(again.exception) == "there is no rule file 'web'; `henge rules list` shows them"


def test_two_that_write_at_once_do_not_mix(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    """One of them may be refused, but what is there is whole."""
    folders = []
    for index in range(2):
        (tmp_path / str(index)).mkdir()
        folders.append(write(tmp_path / str(index), same=[f"A{index}"]))
    threads = [
        threading.Thread(target=_written, args=(appliance, folder), name=f"write {folder.name}") for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (item,) = appliance.call("GET", "/api/v1/rules")[1]["items"]
    full = appliance.call("GET", f"/api/v1/rules/{item['id']}")[1]
    (rule,) = full["groups"][0]["rules"]
    assert {check["id"] for check in checks(appliance).values()} == {rule["check_id"]}


def _written(appliance: Appliance, folder: Path) -> None:
    text = (folder / "same.yml").read_text()
    status, _ = appliance.call("POST", "/api/v1/rules", {"name": "same", "text": text})
    assert status in (201, 409)


def test_an_alert_that_fires_is_an_incident_until_its_file_goes(appliance: Appliance, run: Run, tmp_path: Path) -> None:
    rule = {"alert": "Fires", "expr": "vector(1)", "annotations": {"summary": "value {{ $value }}"}}
    groups = [{"name": "now", "interval": "1s", "rules": [{"record": "now:one", "expr": "vector(1)"}, rule]}]
    (tmp_path / "fires.yml").write_text(json.dumps({"groups": groups}))
    run("load", tmp_path)

    def incidents(state: str) -> list[Any]:
        items: list[Any] = appliance.call("GET", f"/api/v1/incidents?state={state}")[1]["items"]
        return [item for item in items if item["check_name"] == "Fires"]

    wait_until(lambda: incidents("open"), timeout_s=20, what="an incident")
    (incident,) = incidents("open")
    assert "value 1" in incident["title"]
    assert "Fires" in run("show", "fires").output
    assert "CRITICAL" in run("show", "fires").output
    file = appliance.call("GET", "/api/v1/rules?name=fires")[1]["items"][0]
    group = appliance.call("GET", f"/api/v1/rules/{file['id']}")[1]["groups"][0]
    assert [rule["health"] for rule in group["rules"]] == ["ok", "ok"]
    assert (group["rules"][1]["state"], len(group["rules"][1]["alerts"])) == ("firing", 1)
    assert run("remove", "fires").exit_code == 0
    wait_until(lambda: incidents("resolved"), timeout_s=20, what="the end of the incident")
