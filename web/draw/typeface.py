"""The one font of pictures: it comes with us, as machines have others, or none."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).parents[1] / "static" / "vendor" / "dejavu-sans-2.37.ttf"
FAMILY = "DejaVu Sans"
FAMILIES = f"{FAMILY}, Bitstream Vera Sans, Verdana, Geneva, sans-serif"  # All about as wide, for browsers.
