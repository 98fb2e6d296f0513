"""The language that programs of this user speak, and whether names of files beyond ASCII come through."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.doctor.finding import Finding, advice, ok
from appliance.doctor.patient import Patient

ALL_CATEGORIES = 0x1FBF  # LC_ALL_MASK of glibc's locale.h.
VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")  # The first that is set counts.


@dataclass(frozen=True, slots=True)
class Reading:
    name: str
    is_installed: bool
    encoding: str  # Of the names of files, as Python has it.


def examine(_patient: Patient) -> Iterator[Finding]:
    yield judge(read(os.environ))


def read(environ: Mapping[str, str]) -> Reading:
    name = next((environ[variable] for variable in VARIABLES if environ.get(variable)), "C")
    return Reading(name, _is_installed(name), sys.getfilesystemencoding())


def _is_installed(name: str) -> bool:
    """By newlocale(3), which changes nothing in this process; true where there is no such function."""
    try:
        library = ctypes.CDLL(None)
        library.newlocale.restype = ctypes.c_void_p
        made = library.newlocale(ALL_CATEGORIES, name.encode("utf-8", "surrogateescape"), None)
    except (OSError, AttributeError):
        return True
    if made:
        library.freelocale(ctypes.c_void_p(made))
    return bool(made)


def judge(reading: Reading) -> Finding:
    utf8 = "set LANG=C.UTF-8, or another locale of `locale -a` that ends in UTF-8"
    if reading.encoding.lower().replace("-", "") != "utf8":
        return advice("locale", f"{reading.name}: names of files are {reading.encoding}", utf8)
    if not reading.is_installed:
        return advice("locale", f"{reading.name}, which is not installed", utf8)
    return ok("locale", reading.name)
