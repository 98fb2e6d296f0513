"""What each look makes of a reading: machines that this one is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.commands.running_appliance import Row
from appliance.config import Address
from appliance.doctor import clock, disk, limits, locales, ownership, ports, resolving, state_file, system, tree
from appliance.doctor.finding import Finding, Verdict

GIB = 2**30
DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
DISK = disk.Reading(
    folder=Path("/srv"),
    free_bytes=50 * GIB,
    total_bytes=100 * GIB,
    free_inodes_count=10**6,
    inodes_count=10**7,
    is_read_only=False,
    kind="ext4",
)
CLOCK = clock.Reading(
    now_ms=NOW_MS, newest_file="state.db", newest_ms=NOW_MS - 5, is_synchronised=True, stepped_ms=900, jumped_ms=0.2
)
FOLDER = ownership.Entry("/srv/henge", 1000, 0o700)
KEY = ownership.Entry("/srv/henge/secret.key", 1000, 0o600, size_bytes=32)
HELD = ownership.Reading(our_id=1000, folder=FOLDER, key=KEY, state=ownership.Entry("/srv/henge/state.db", 1000, 0o600))
STATE = state_file.Reading(path="/srv/henge/state.db", size_bytes=4096, backup_age_ms=3_600_000, is_running=True)
SYSTEM = system.Reading("Linux", "6.1.0-18-amd64", "glibc 2.36", True, 4096)
WEB = Address("127.0.0.1", 8420)
PORT = ports.Reading(
    setting="web.listen",
    wanted=WEB,
    had=WEB,
    is_running=True,
    holders=(ports.Holder(7, "henge"),),
    our_pids=frozenset({7}),
)
ROW = Row("web", 7, "up", 0, None, None, 1, 1)
NAME = resolving.Reading("localhost", 0.001, ("127.0.0.1", "::1"))
SERVER = resolving.Reading(resolving.ASKED_SERVER, 0.02, (), -2, "Name or service not known")


def worst(found: Finding | Iterable[Finding]) -> tuple[Verdict, str]:
    """The verdict that counts, and everything that is said with it."""
    findings = [found] if isinstance(found, Finding) else list(found)
    assert findings
    verdict: Verdict = max((each.verdict for each in findings), key=("ok", "advice", "fault").index)
    return verdict, " ".join(f"{one.what}: {one.value} → {one.way_out}" for one in findings if one.verdict == verdict)


ROWS = {
    "a disk with room": (disk.judge(DISK), "ok", "50.0 GiB of 100.0 GiB"),
    "a disk with little room": (disk.judge(replace(DISK, free_bytes=GIB)), "advice", "store.disk_bytes_max"),
    "a full disk": (disk.judge(replace(DISK, free_bytes=GIB // 5)), "fault", "204.8 MiB of 100.0 GiB"),
    "a small card with a tenth free": (disk.judge(replace(DISK, total_bytes=GIB, free_bytes=GIB // 8)), "ok", "128.0"),
    "a disk without inodes": (disk.judge(replace(DISK, free_inodes_count=0)), "fault", "inodes"),
    "a file system without a limit of inodes": (
        disk.judge(replace(DISK, free_inodes_count=0, inodes_count=0)),
        "ok",
        "GiB",
    ),
    "a disk that can only be read": (disk.judge(replace(DISK, is_read_only=True)), "fault", "/srv can only be read"),
    "a folder in memory": (disk.judge(replace(DISK, kind="tmpfs")), "advice", "a restart of this machine loses"),
    "a folder over the network": (disk.judge(replace(DISK, kind="nfs4")), "advice", "nfs4, over the network"),
    "a clock that is kept": (clock.judge(CLOCK), "ok", "keeps the clock"),
    "a clock that nobody keeps": (clock.judge(replace(CLOCK, is_synchronised=False)), "advice", "chrony"),
    "a system that does not tell": (clock.judge(replace(CLOCK, is_synchronised=None)), "ok", "does not tell"),
    "a clock of 1970": (clock.judge(replace(CLOCK, now_ms=0)), "fault", "1970-01-01"),
    "a clock that was set back": (
        clock.judge(replace(CLOCK, newest_ms=NOW_MS + 3_600_000)),
        "fault",
        "state.db was written 3,600 s later",
    ),
    "a file a moment ahead": (clock.judge(replace(CLOCK, newest_ms=NOW_MS + 900)), "ok", "UTC"),
    "a clock set since the start": (clock.judge(replace(CLOCK, stepped_ms=-7_200_000)), "advice", "-7,200 s since"),
    "a clock that jumps": (clock.judge(replace(CLOCK, jumped_ms=800.0)), "advice", "+800 ms within 0.2 s"),
    "files without limit": (limits.judge_files(limits.Limit("", None, None, 9)), "ok", "no limit"),
    "files of a small limit": (limits.judge_files(limits.Limit("", 1024, 1024, 9)), "fault", "at most 1,024"),
    "files of a middling limit": (limits.judge_files(limits.Limit("", 20_000, 1024, 9)), "advice", "65,536"),
    "files nearly used up": (
        limits.judge_files(limits.Limit("store", None, 1000, 900)),
        "fault",
        "open files of store: 900 of 1,000",
    ),
    "tasks nearly used up": (limits.judge_tasks(limits.Limit("", 4096, 4096, 4000)), "advice", "4,000 of 4,096"),
    "tasks with room": (limits.judge_tasks(limits.Limit("", 4096, 4096, 40)), "ok", "40 of 4,096"),
    "the locale of this machine": (locales.judge(locales.Reading("de_DE.UTF-8", True, "utf-8")), "ok", "de_DE"),
    "a locale that is not installed": (
        locales.judge(locales.Reading("de_DE.UTF-8", False, "utf-8")),
        "advice",
        "de_DE.UTF-8, which is not installed",
    ),
    "names of files in Latin 1": (locales.judge(locales.Reading("de_DE", True, "iso8859-1")), "advice", "iso8859-1"),
    "a folder of ours": (ownership.judge(HELD), "ok", "mode 700"),
    "a folder that others look into": (
        ownership.judge(replace(HELD, folder=replace(FOLDER, mode=0o755))),
        "advice",
        "chmod 700 /srv/henge",
    ),
    "a folder that others write": (
        ownership.judge(replace(HELD, folder=replace(FOLDER, mode=0o777))),
        "fault",
        "others may write it",
    ),
    "a folder of somebody else": (
        ownership.judge(replace(HELD, our_id=33, may_write=False)),
        "fault",
        "sudo -u '#1000' henge doctor --data /srv/henge",
    ),
    "a file of root's within": (
        ownership.judge(replace(HELD, strangers=(ownership.Entry("/srv/henge/lock", 0, 0o600),))),
        "fault",
        "1 files of other users, such as /srv/henge/lock of user 0",
    ),
    "a key that others read": (ownership.judge(replace(HELD, key=replace(KEY, mode=0o640))), "fault", "chmod 600"),
    "a key cut short": (ownership.judge(replace(HELD, key=replace(KEY, size_bytes=31))), "fault", "31 bytes, not 32"),
    "a key that is a link": (ownership.judge(replace(HELD, key=replace(KEY, is_link=True))), "fault", "symbolic link"),
    "state that others read": (
        ownership.judge(replace(HELD, state=ownership.Entry("/srv/henge/state.db", 1000, 0o644))),
        "fault",
        "chmod 600 /srv/henge/state.db",
    ),
    "a folder that cannot be made": (
        ownership.judge(ownership.Reading(our_id=1000, folder=None, parent="/srv", may_make=False)),
        "fault",
        "/srv cannot be written",
    ),
    "whole state": (state_file.judge(STATE), "ok", "4.0 KiB, whole"),
    "damaged state": (state_file.judge(replace(STATE, damage="page 3 is torn")), "fault", "page 3 is torn"),
    "state that cannot be read": (state_file.judge(replace(STATE, unreadable="disk I/O error")), "fault", "I/O"),
    "state that was set aside": (
        state_file.judge(replace(STATE, aside_names=("state.db.damaged-1Z",))),
        "advice",
        "state.db.damaged-1Z",
    ),
    "an old backup": (state_file.judge(replace(STATE, backup_age_ms=9 * DAY_MS)), "advice", "9 days old"),
    "an old backup of an appliance that rests": (
        state_file.judge(replace(STATE, backup_age_ms=9 * DAY_MS, is_running=False)),
        "ok",
        "216 hours old",
    ),
    "a Debian": (system.judge(SYSTEM), "ok", "glibc 2.36"),
    "an old kernel": (system.judge(replace(SYSTEM, release="3.10.0-1160.el7")), "advice", "4.19"),
    "an old glibc": (system.judge(replace(SYSTEM, glibc="glibc 2.31")), "advice", "2.36"),
    "another C library": (system.judge(replace(SYSTEM, glibc="")), "advice", "not glibc"),
    "another system": (system.judge(replace(SYSTEM, system="Darwin", release="23.1.0")), "fault", "Linux"),
    "a machine of 32 bits": (system.judge(replace(SYSTEM, is_64_bit=False)), "fault", "64-bit"),
    "a short queue of connections": (system.judge(replace(SYSTEM, somaxconn_count=128)), "advice", "128"),
    "a port of ours": (ports.judge(PORT), "ok", "127.0.0.1:8420, open by this appliance"),
    "a port of another program": (
        ports.judge(
            replace(
                PORT,
                had=None,
                is_running=False,
                trouble="web.listen: 127.0.0.1:8420 is in use by another program; stop that program",
                holders=(ports.Holder(9, "nginx"),),
            )
        ),
        "fault",
        "is in use by another program, held by nginx (process 9) → stop that program",
    ),
    "a free port": (ports.judge(replace(PORT, had=None, is_running=False)), "ok", "free"),
    "a listener that is off": (ports.judge(replace(PORT, wanted=None, had=None)), "ok", "off"),
    "a port shared with a stranger": (
        ports.judge(replace(PORT, holders=(*PORT.holders, ports.Holder(9, "nc")))),
        "advice",
        "nc (process 9) has a socket there as well",
    ),
    "a setting that was changed since": (
        ports.judge(replace(PORT, wanted=Address("127.0.0.1", 9000))),
        "advice",
        "127.0.0.1:9000",
    ),
    "a port that the system chose": (ports.judge(replace(PORT, wanted=Address("127.0.0.1", 0))), "ok", "8420"),
    "a listener not open yet": (ports.judge(replace(PORT, had=None)), "advice", "not open"),
    "a process that is up": (tree.judge(ROW), "ok", "up, process 7"),
    "a process that came back": (
        tree.judge(Row("web", 7, "up", 3, "SIGKILL", "the well is dry", 1, 1)),
        "advice",
        "restarted 3 times, last: SIGKILL (the well is dry)",
    ),
    "a process that is down": (tree.judge(Row("web", None, "down", 3, "exit 1", None, 0, None)), "fault", "exit 1"),
    "localhost": (resolving.judge(NAME), "ok", "127.0.0.1, ::1"),
    "localhost elsewhere": (resolving.judge(replace(NAME, addresses=("192.0.2.1",))), "fault", "192.0.2.1"),
    "localhost unknown": (resolving.judge(replace(NAME, addresses=(), error_number=-2)), "fault", "/etc/hosts"),
    "a server that says no": (resolving.judge(SERVER), "ok", "answers"),
    "a server that is silent": (resolving.judge(replace(SERVER, took_s=None)), "advice", "no answer within 3 s"),
    "a server that is away": (resolving.judge(replace(SERVER, error_number=-3)), "advice", "/etc/resolv.conf"),
    "a slow server": (resolving.judge(replace(SERVER, took_s=1.4)), "advice", "after 1.4 s"),
    "a name of this machine unknown": (
        resolving.judge(resolving.Reading("box", 0.01, (), -2, "not known")),
        "advice",
        '"127.0.1.1 box"',
    ),
}


@pytest.mark.parametrize(("found", "verdict", "said"), ROWS.values(), ids=ROWS.keys())
def test_a_reading_gets_its_verdict_its_value_and_a_way_out(
    found: Finding | Iterable[Finding], verdict: Verdict, said: str
) -> None:
    got, text = worst(found)
    assert got == verdict, text
    assert said in text


def test_the_file_system_is_that_of_the_deepest_mount_and_of_the_last_one_there() -> None:
    mounts = [
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
        "23 22 0:5 / /srv/my\\040data rw shared:1 - tmpfs tmpfs rw",
        "24 22 0:6 / /srv/my\\040data rw - nfs4 box:/x rw",
        "this line says nothing",
    ]
    assert disk.kind_of(mounts, Path("/srv/my data/henge")) == "nfs4"
    assert disk.kind_of(mounts, Path("/srv/my")) == "ext4"
    assert disk.kind_of([], Path("/srv")) == ""
