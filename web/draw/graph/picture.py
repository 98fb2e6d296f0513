"""The SVG of a scene, from the one template. All text in it is escaped, and nothing in it points outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tsdb.answer import RenderedSeries
from web.draw import typeface
from web.draw.graph import lines, pie
from web.draw.graph.errors import BadPicture
from web.draw.graph.pie import Slice
from web.draw.graph.scene import Scene
from web.draw.graph.wanted import Wanted

POINTS_DRAWN_MAX = 400_000  # About 12 bytes of SVG each, and two seconds for a PNG of them.
SERIES_DRAWN_MAX = 5_000
# Source: W3C, "XML 1.0", section 2.2: other characters may not even be written as references.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def line_svg(series: Sequence[RenderedSeries], wanted: Wanted) -> str:
    """Raises: BadPicture."""
    _check_size(series)
    return svg_of(lines.drawn(series, wanted))


def pie_svg(slices: Sequence[Slice], wanted: Wanted) -> str:
    if len(slices) > SERIES_DRAWN_MAX:
        raise BadPicture(f"{len(slices):,} slices are more than {SERIES_DRAWN_MAX:,}; ask for fewer")
    return svg_of(pie.drawn(slices, wanted))


def _check_size(series: Sequence[RenderedSeries]) -> None:
    count = sum(one.values.size for one in series)
    if len(series) > SERIES_DRAWN_MAX:
        raise BadPicture(
            f"{len(series):,} series are more than the {SERIES_DRAWN_MAX:,} of a picture; choose some with "
            f"highestMax(), or add them up"
        )
    if count > POINTS_DRAWN_MAX:
        raise BadPicture(
            f"{len(series):,} series have {count:,} points here, more than the {POINTS_DRAWN_MAX:,} of a picture; "
            f"ask for fewer series, a smaller width or a larger minXStep"
        )


def svg_of(scene: Scene) -> str:
    return _template().render(scene=scene, families=typeface.FAMILIES)


def _shown(text: str) -> str:
    """Without what XML cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _shown
    return environment.get_template("picture.svg")
