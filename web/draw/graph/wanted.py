"""What a picture shall look like: the arguments of graphite-web's render API that say so, read and within limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from web.draw.graph.colors import Color, Theme
from web.draw.graph.scale import Bounds

SIDE_PX_MIN, SIDE_PX_MAX = 16, 4_096  # Of width and height: 4,096 × 4,096 are 64 MiB of pixels.
WIDTH_PX, HEIGHT_PX = 330, 250  # As graphite-web has it.
FONT_SIZE_PX = 10.5
MARGIN_PX = 8
LINE_WIDTH_PX = 1.4
LINE_MODES = ("slope", "staircase", "connected")
AREA_MODES = ("none", "first", "all", "stacked")
PIE_MODES = ("average", "maximum", "minimum")
PIE_LABELS = ("percent", "number", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One value axis and the lines that belong to it; color, width_px and dash_px for lines that have none."""

    bounds: Bounds = field(default_factory=Bounds)
    color: Color | None = None
    width_px: float | None = None
    dash_px: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """is_pie: shares of a circle instead of lines. show_legend None: as long as there are not too many names."""

    width: int = WIDTH_PX
    height: int = HEIGHT_PX
    is_pie: bool = False
    theme: Theme
    background: Color
    foreground: Color
    major: Color
    minor: Color
    lines: tuple[Color, ...]
    font_size: float = FONT_SIZE_PX
    margin: int = MARGIN_PX
    zone: ZoneInfo
    title: str = ""
    left_title: str = ""
    right_title: str = ""
    x_format: str = ""
    unit_system: str = "si"
    log_base: float | None = None
    minor_count: int = 1
    line_mode: str = "slope"
    line_width: float = LINE_WIDTH_PX
    connected_limit: float = float("inf")
    area_mode: str = "none"
    area_alpha: float | None = None
    null_as_zero: bool = False
    show_legend: bool | None = None
    unique_legend: bool = False
    hide_null_from_legend: bool = False
    show_grid: bool = True
    show_axes: bool = True
    show_x_axis: bool = True
    show_y_axis: bool = True
    axis_on_right: bool = False
    left: Side = field(default_factory=Side)
    right: Side = field(default_factory=Side)
    pie_mode: str = "average"
    pie_labels: str = "percent"
    pie_labels_min: float = 5.0
