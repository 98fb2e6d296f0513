"""What the template draws: shapes and texts with their places, in pixels from the upper left corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from web.draw.graph import font
from web.draw.graph.colors import Color

LEGEND_ROOM = 7.0  # Less width or height, in sizes of the font, is left to the lines.
CAPITAL = 0.73  # The height of a capital letter, in sizes of the font.


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """path: the data of an SVG path. Without a fill only its outline is drawn, without a stroke only its inside."""

    path: str
    stroke: Color | None = None
    fill: Color | None = None
    width: float = 1.0
    dash: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """x, y: where its base line begins, has its middle or ends, as the anchor says; turned: read from below."""

    x: float
    y: float
    text: str
    color: Color
    size: float
    anchor: str = "start"  # Or middle, or end.
    turned: int = 0  # Degrees.


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(slots=True, kw_only=True)
class Scene:
    """behind and before: of what is within. frame: cuts off what is within; None where nothing reaches out of it, as
    this costs a third of the time that a PNG takes."""

    width: int
    height: int
    background: Color
    summary: str
    frame: Box | None = None
    behind: list[Shape] = field(default_factory=list)
    within: list[Shape] = field(default_factory=list)
    before: list[Shape] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


def inside(width: int, height: int, margin: int) -> Box:
    """A picture without its margin, which takes no more than half of a small one."""
    across, down = min(margin, width // 4), min(margin, height // 4)
    return Box(left=across, top=down, right=width - across, bottom=height - down)


def rectangle(box: Box) -> str:
    return f"M{box.left:.1f} {box.top:.1f}H{box.right:.1f}V{box.bottom:.1f}H{box.left:.1f}z"


@dataclass(frozen=True, slots=True)
class Entry:
    """A name of the legend."""

    name: str
    color: Color


def legend(entries: Sequence[Entry], box: Box, size: float, color: Color) -> tuple[list[Shape], list[Text], float]:
    """Names in columns at the bottom of a box, on half of its height at most.

    Returns: squares, names, and the height that is used. Of names that have no place, their number is told; a box that
    is too small for any has none.
    """
    if box.width < LEGEND_ROOM * size or box.height < LEGEND_ROOM * size:
        return [], [], 0.0
    line_px, square_px = legend_line_px(size), round(size * 0.8)
    room_px = square_px + 0.5 * size
    column_px = min(font.widest([one.name for one in entries], size) + room_px + 1.2 * size, box.width)
    column_count = max(1, int(box.width // column_px))
    column_px = box.width / column_count
    row_max = max(1, int(box.height * 0.5 // line_px))
    shown = list(entries)
    if len(entries) > row_max * column_count:
        shown = shown[: max(0, row_max * column_count - 1)]
    row_count = -(-min(len(entries), row_max * column_count) // column_count)
    top = box.bottom - row_count * line_px
    shapes, texts = [], []
    for index, entry in enumerate(shown):
        row, column = divmod(index, column_count)
        x, base = box.left + column * column_px, top + row * line_px + (line_px + CAPITAL * size) / 2
        square_top = round(base - (CAPITAL * size + square_px) / 2)
        square = Box(left=round(x), top=square_top, right=round(x) + square_px, bottom=square_top + square_px)
        shapes.append(Shape(path=rectangle(square), fill=entry.color))
        name = font.fitted(entry.name, size, column_px - room_px - 0.4 * size)
        texts.append(Text(x=round(x) + room_px, y=base, text=name, color=color, size=size))
    if len(shown) < len(entries):
        row, column = divmod(len(shown), column_count)
        x, base = box.left + column * column_px, top + row * line_px + (line_px + CAPITAL * size) / 2
        more = f"and {len(entries) - len(shown):,} more"
        texts.append(Text(x=round(x) + room_px, y=base, text=more, color=color.faded(0.7), size=size))
    return shapes, texts, row_count * line_px


def legend_line_px(size: float) -> int:
    return round(size * 1.35)


def heading(
    title: str, box: Box, size: float, color: Color, *, line_count_max: int = 3, turned: int = 0
) -> tuple[list[Text], float]:
    """Lines of a title from the top of a box down, or, turned, of one of its sides inwards.

    Returns: the lines, and the height that they use."""
    room, step = (box.height if turned else box.width), round(size * 1.3)
    lines = [font.fitted(one, size, room) for one in title.splitlines()[:line_count_max]]
    texts = []
    for index, line in enumerate(lines):
        along = index * step + size * 0.9
        middle_x, middle_y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        x, y = {
            0: (middle_x, box.top + along),
            -90: (box.left + along, middle_y),
            90: (box.right - along, middle_y),
        }[turned]
        texts.append(Text(x=x, y=y, text=line, color=color, size=size, anchor="middle", turned=turned))
    return texts, len(lines) * step
