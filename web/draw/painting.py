"""`henge painter`: makes PNGs of SVGs, one after the other, in a process of its own.

resvg keeps Python's lock while it draws, tens of milliseconds for a usual picture and seconds for a great one; and what
it is given holds names of strangers. Here it holds up nobody, has a limit of memory, and may be killed (painter.py).

In: `length <4b LE> | SVG`. Out: `1 for a PNG, 0 for an error <1b> | length <4b LE> | PNG or text`. It ends at the end
of its input, and when nothing has come for IDLE_S.
"""

from __future__ import annotations

import resource
import select
import sys
from io import RawIOBase
from typing import BinaryIO

import click
import resvg_py

from web.draw import typeface
from web.draw.painter import HEAD, LENGTH

IDLE_S = 120.0
MEMORY_BYTES_MAX = 768 * 2**20  # Of addresses: the largest picture takes 64 MiB for its pixels, thrice at most.
CPU_S_MAX = 3_600  # A process that paints for so long in all has earned its rest; the next one is as good.


@click.command("painter", hidden=True)
def painter() -> None:
    """Make PNGs of the SVGs that come on standard input. Started by the web process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:  # No buffer, for select().
        serve(source, sys.stdout.buffer)


def serve(source: RawIOBase, sink: BinaryIO) -> None:
    while select.select([source], [], [], IDLE_S)[0]:
        head = _read(source, LENGTH.size)
        if len(head) < LENGTH.size:
            return
        (size,) = LENGTH.unpack(head)
        svg = _read(source, size)
        if len(svg) < size:
            return
        try:
            is_png, body = 1, png(svg.decode())
        except ValueError as error:
            is_png, body = 0, str(error).encode(errors="replace")
        sink.write(HEAD.pack(is_png, len(body)) + body)
        sink.flush()


def png(svg: str) -> bytes:
    """With our own font alone: machines have others, or none. Raises: ValueError."""
    if "<image" in svg:  # resvg would read the file that it names. Names of series cannot bring one: they are escaped.
        raise ValueError("pictures within pictures are not painted")
    return resvg_py.svg_to_bytes(
        svg_string=svg, skip_system_fonts=True, font_files=[str(typeface.FILE)], sans_serif_family=typeface.FAMILY
    )


def _read(source: RawIOBase, size: int) -> bytes:
    """All of it, or what there is before the end."""
    parts, missing = [], size
    while missing and (part := source.read(min(missing, 1 << 20))):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
