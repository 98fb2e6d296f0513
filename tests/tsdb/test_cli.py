"""`henge query` and `henge db` on a real appliance, and on a damaged folder."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import CHECKOUT, HENGE, Appliance
from tests.waiting import wait_until
from tsdb.cli import stored_text
from tsdb.commands.notation import series_text


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("cli")) as running:
        yield running


def henge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HENGE, *arguments], capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=False)


def test_a_value_is_asked_for_and_a_range_of_it(appliance: Appliance) -> None:
    now_s = int(time.time())
    appliance.send_graphite("".join(f"shop.orders {n} {now_s - n}\n" for n in range(30)))
    expression = '{"shop.orders"}'
    text = wait_until(lambda: appliance.henge("query", expression).strip(), what="the value")
    assert text == '{"shop.orders"}  0'
    (line,) = appliance.henge("query", expression, "--range", "20s", "--step", "5s", "--json").splitlines()
    found = json.loads(line)
    assert found["labels"] == {"__name__": "shop.orders"}
    assert len(found["samples"]) >= 4


def test_what_is_refused_says_why_on_one_line(appliance: Appliance) -> None:
    done = henge("query", "sum(", "--data", str(appliance.data_dir))
    assert done.returncode == 1
    assert "parse error" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_expression_without_a_series_says_so_beside_its_empty_answer(appliance: Appliance) -> None:
    done = henge("query", "nosuch", "--data", str(appliance.data_dir))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no series has a value for this\n")


def test_what_is_no_snapshot_is_refused_and_leaves_no_data_folder(tmp_path: Path) -> None:
    done = henge("db", "restore", str(tmp_path), "--data", str(tmp_path / "new"))
    assert done.returncode == 1
    assert "snapshot" in done.stderr
    assert not (tmp_path / "new").exists()


def test_what_is_stored_is_told_with_its_rollups() -> None:
    stats = {"block_count": 2, "block_samples": 1_000, "block_bytes": 1_500, "rollup_count": 0, "rollup_bytes": 0}
    assert stored_text(stats) == "2 blocks, 1,000 samples, 1,500 bytes, 1.50 bytes a sample"
    with_rollups = stored_text(stats | {"rollup_count": 6, "rollup_bytes": 4_096})
    assert with_rollups.splitlines()[1:] == ["6 blocks of rollups, 4,096 bytes"]


def test_compacting_leaves_everything_in_verified_blocks(appliance: Appliance) -> None:
    now_s = int(time.time())
    appliance.send_graphite("".join(f"kept.{n} {n} {now_s}\n" for n in range(1000)))
    wait_until(lambda: appliance.query('{"kept.999"}'), what="the last line")
    assert "blocks" in appliance.henge("db", "compact")
    verified = appliance.henge("db", "verify")
    assert ".block" in verified
    assert "damaged" not in verified
    folder = json.loads(appliance.henge("db", "inspect", "--json"))
    assert folder["content"]["count"] > 0
    assert folder["content"]["unsure"] == 0
    (block,) = folder["blocks"]["list"]
    told = appliance.henge("db", "inspect", f"blocks/{block['name']}", "--limit", "3")
    assert "decimal" in told or "constant" in told
    refused = henge("db", "repair", "--data", str(appliance.data_dir))
    assert refused.returncode == 1
    assert "in use by the appliance" in refused.stderr
    assert appliance.query('{"kept.500"}')[0]["value"][1] == "500"


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    with Appliance(tmp_path) as appliance:
        appliance.send_graphite("".join(f"kept.{n} {n} {int(time.time())}\n" for n in range(1000)))
        wait_until(lambda: appliance.query('{"kept.999"}'), what="the last line")
        appliance.henge("db", "compact")
        data_dir = appliance.data_dir
    (block,) = (data_dir / "samples" / "blocks").glob("*.block")
    content = bytearray(block.read_bytes())
    content[len(content) // 2] ^= 0x10
    block.write_bytes(content)
    done = henge("db", "verify", "--data", str(data_dir))
    assert done.returncode == 1
    assert block.name in done.stdout
    assert "damaged" in done.stdout
    shown = henge("db", "inspect", f"blocks/{block.name}", "--data", str(data_dir))
    assert "sections" in shown.stdout
    done = henge("db", "repair", "--data", str(data_dir))
    assert done.returncode == 0, done.stderr
    assert "quarantine/" in done.stdout
    assert "nothing is damaged" in henge("db", "repair", "--data", str(data_dir)).stdout
    assert henge("db", "verify", "--data", str(data_dir)).returncode == 0


def test_without_an_appliance_the_way_out_is_named(tmp_path: Path) -> None:
    done = henge("query", "up", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "henge up" in done.stderr


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"__name__": "up", "job": "a"}, 'up{job="a"}'),
        ({"__name__": "up"}, "up"),
        ({"__name__": "a.b", "x": 'q"'}, '{"a.b", x="q\\""}'),
        ({}, "{}"),
    ],
)
def test_a_series_is_written_as_promql_reads_it(labels: dict[str, str], text: str) -> None:
    assert series_text(labels) == text


def test_a_delete_shows_what_it_means_and_asks_first(appliance: Appliance) -> None:
    now_s = int(time.time())
    appliance.send_graphite("".join(f"doomed.{n} {n} {now_s}\n" for n in range(8)))
    wait_until(lambda: appliance.query('{"doomed.7"}'), what="the last line")
    match = ("--match", '{__name__=~"doomed.*"}', "--data", str(appliance.data_dir))
    command = [*HENGE, "db", "delete", *match]
    asked = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=False, input="n\n")
    assert asked.returncode == 1
    assert '{"doomed.0"}' in asked.stdout
    assert "… and 3 more" in asked.stdout
    assert appliance.query('{"doomed.7"}')
    assert "1 series" in appliance.henge("db", "delete", "--match", '{"doomed.7"}', "--yes")
    assert not appliance.query('{"doomed.7"}')
    assert "no series" in appliance.henge("db", "delete", "--match", '{"doomed.7"}', "--from", "2020-01-01", "--yes")
    assert "7 series" in appliance.henge("db", "delete", *match[:2], "--yes", "--from", "1h", "--to", "0s")
    assert henge("db", "delete", "--match", "sum(x)", *match[2:]).returncode == 1


@pytest.mark.parametrize(("option", "text"), [("--from", "soon"), ("--to", "-5"), ("--from", "1e300"), ("--to", "nan")])
def test_a_time_that_is_none_is_refused(tmp_path: Path, option: str, text: str) -> None:
    done = henge("db", "delete", "--match", "up", f"{option}={text}", "--data", str(tmp_path))
    assert done.returncode == 2
    assert "is no time" in done.stderr


def test_samples_are_exported_in_each_format_and_arrow_is_taken_back(appliance: Appliance, tmp_path: Path) -> None:
    now_s = int(time.time()) - 100
    appliance.send_graphite("".join(f"taken.{n};room=a {n / 8} {now_s + n}\n" for n in range(50)))
    wait_until(lambda: appliance.query('{"taken.49"}'), what="the last line")
    match = ("export", "samples", "--match", '{__name__=~"taken.*"}', "--format")
    assert appliance.henge(*match, "csv").splitlines()[0] == "series,timestamp_ms,value"
    lines = appliance.henge(*match, "csv", "--from", str(now_s + 40), "--to", str(now_s + 49)).splitlines()[1:]
    assert len(lines) == 10
    assert f'"{{""taken.41"",room=""a""}}",{now_s + 41}000,5.125' in lines
    text = appliance.henge(*match, "openmetrics").splitlines()
    assert (len(text), text[-1]) == (51, "# EOF")
    file = tmp_path / "taken.arrow"
    assert not appliance.henge(*match, "arrow", "--output", str(file))
    assert [path.name for path in tmp_path.iterdir()] == ["taken.arrow"]
    assert "50 series" in appliance.henge("db", "delete", "--match", '{__name__=~"taken.*"}', "--yes")
    request = urllib.request.Request(
        appliance.url + "/api/v1/write/arrow",
        method="POST",
        data=file.read_bytes(),
        headers={
            "Authorization": f"Bearer {appliance.token}",
            "Content-Type": "application/vnd.apache.arrow.stream",
        },
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.loads(answer.read())["accepted_count"] == 50
    assert sorted(appliance.henge(*match, "openmetrics").splitlines()) == sorted(text)
