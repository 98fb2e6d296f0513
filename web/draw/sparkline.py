"""A sparkline: the shape of a few dozen values, without axes, from zero to their maximum."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 88, 24
TOP = 2  # Room for the stroke of the highest value.


def sparkline(values: Sequence[float], *, label: str) -> Markup:
    """values: oldest first, finite. With fewer than two there is no shape, and nothing is drawn."""
    if len(values) < 2:
        return Markup("")
    highest = max(values) or 1.0
    step = WIDTH / (len(values) - 1)
    points = [
        f"{index * step:.1f} {HEIGHT - (HEIGHT - TOP) * max(value, 0.0) / highest:.1f}"
        for index, value in enumerate(values)
    ]
    line = "M" + "L".join(points)
    return Markup(  # noqa: S704 - built from numbers and escaped text only.
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><path class="area" d="{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}z"/>'
        f'<path class="line" d="{line}"/></svg>'
    )
