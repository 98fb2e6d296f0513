"""The nagios probe from its options to a result, through a real spawner and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks.model import Result, State
from checks.nagios.client import PluginClient
from checks.probes.nagios.probe import located
from tests.checks.nagios.spawning import RunningSpawner, running_spawner, script
from tests.checks.probes.probing import bench


@pytest.fixture(scope="module")
def spawner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpawner]:
    with running_spawner(tmp_path_factory.mktemp("spawner")) as running:
        running.run("/bin/true", timeout_s=20)
        yield running


def run(run_dir: Path, *, timeout_s: float = 5.0, **options: Any) -> Result:
    async def main() -> Result:
        client = PluginClient(run_dir)
        async with bench(plugins=client) as b:
            try:
                return await b.run("nagios", timeout_s=timeout_s, **options)
            finally:
                client.close()

    return asyncio.run(main())


def test_it_works(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(
        tmp_path,
        "#!/bin/sh\n"
        "echo \"DISK WARNING - $1 $PLACE | '/ root'=1GB;2;3;0;4\"\n"
        "echo 'first detail'\necho 'second | b=5ms'\necho 'c=6'\necho hm >&2\nexit 1\n",
    )
    result = run(spawner.run_dir, command=f"{plugin} 'two words'", env={"PLACE": "cellar"})
    assert (result.state, result.output) == (State.WARNING, "DISK WARNING - two words cellar")
    assert [(item.label, item.value, item.unit) for item in result.perfdata] == [
        ("/ root", 1, "GB"), ("b", 5, "ms"), ("c", 6, ""),
    ]  # fmt: skip
    assert [line for line in result.transcript if " ms " not in line] == ["first detail", "second", "stderr: hm"]


def test_a_command_is_no_shell(spawner: RunningSpawner) -> None:
    result = run(spawner.run_dir, command="/bin/echo a; echo $HOME | cat > /tmp/x `id`")
    assert result.output == "a; echo $HOME"


def test_a_program_named_alone_is_looked_for(spawner: RunningSpawner, tmp_path: Path) -> None:
    assert run(spawner.run_dir, command="echo hello").output == "hello"
    missing = run(spawner.run_dir, command="check_nothing_here")
    assert missing.state is State.UNKNOWN
    assert missing.output.startswith("check_nothing_here is in none of the folders /usr/lib/nagios/plugins, ")
    plugin = Path(script(tmp_path, "#!/bin/sh\n"))
    assert located(plugin.name, ["/no/such", str(tmp_path)]) == str(plugin)


def test_an_argv_list(spawner: RunningSpawner) -> None:
    assert run(spawner.run_dir, argv=["/bin/echo", "a  b", "'c'"]).output == "a  b 'c'"


def test_a_hanging_plugin_has_the_state_that_was_chosen(spawner: RunningSpawner) -> None:
    for word, state in (("critical", State.CRITICAL), ("unknown", State.UNKNOWN)):
        result = run(spawner.run_dir, command="/bin/sleep 100", timeout_s=0.4, timeout_state=word)
        assert result.state is state
        assert result.output.startswith("the program did not end within 0.4 s and was ended")


def test_a_missing_plugin_is_unknown(spawner: RunningSpawner) -> None:
    result = run(spawner.run_dir, command="/no/such/check_x")
    assert (result.state, result.output) == (State.UNKNOWN, "/no/such/check_x does not exist")


def test_a_spawner_that_is_away_is_our_fault(tmp_path: Path) -> None:
    result = run(tmp_path, command="/bin/true", timeout_s=0.2)
    assert result.state is State.UNKNOWN
    assert result.output.startswith("the program was not run: spawner did not answer")


def test_a_process_without_a_spawner_says_so() -> None:
    async def main() -> None:
        async with bench() as b:
            result = await b.run("nagios", command="/bin/true")
            assert (result.state, result.output) == (State.UNKNOWN, "this process cannot run programs")

    asyncio.run(main())
