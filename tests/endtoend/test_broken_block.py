"""A block that breaks under a running appliance: no process dies of it, it is set aside and shown, the rest answers."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.endtoend.looking import log, page, pids
from tests.running import Appliance
from tests.waiting import wait_until

HOUR_S = 3_600
TILE_SAMPLES = 13_000  # More than a tile holds, so that no tile has samples of two series.


def test_a_block_that_is_cut_is_set_aside_and_shown_and_the_rest_answers(tmp_path: Path) -> None:
    """Method: one series of the block is read, so that the query process has it open; then it is cut, and another
    series of it is asked for."""
    now_s = int(time.time())
    old_s = now_s - 40 * HOUR_S
    with Appliance(tmp_path) as appliance:

        def count_of(name: str) -> int:
            """Each sample differs from the one before; a mere count would come from the table of tiles, unread."""
            found = appliance.query(f"changes({name}[48h])", time_s=now_s)
            return int(found[0]["value"][1]) + 1 if found else 0

        for end_s, names in ((old_s, ("apple", "pear")), (now_s, ("plum",))):
            body = [
                {
                    "labels": {"__name__": name},
                    "samples": [[1_000 * end_s - 100 * step, step % 97 * 0.37] for step in range(TILE_SAMPLES)],
                }
                for name in names
            ]
            assert appliance.call("POST", "/api/v1/series", body)[0] == 200
            appliance.henge("db", "compact")
        assert (count_of("apple"), count_of("plum")) == (TILE_SAMPLES, TILE_SAMPLES)
        before = pids(appliance)

        blocks = appliance.data_dir / "samples" / "blocks"
        oldest = min(blocks.iterdir())
        os.truncate(oldest, 40)
        assert count_of("pear") == 0
        wait_until(
            lambda: count_of("pear") == 0 and "1 blocks in quarantine" in page(appliance, "/system"),
            what="the System page to say so",
        )
        assert (count_of("pear"), count_of("apple"), count_of("plum")) == (0, 0, TILE_SAMPLES)
        _, system = appliance.call("GET", "/api/v1/system")
        assert system["store"]["quarantined_blocks"] == 1
        assert system["store"]["damaged_reads"] >= 1
        assert oldest.name not in {path.name for path in blocks.iterdir()}
        assert pids(appliance) == before, "no process was restarted"
        assert {process["restarts"] for process in system["processes"]} == {0}
        assert f"block set aside in quarantine/, `henge db repair` takes out what is whole: {oldest.name}" in log(
            appliance
        )
