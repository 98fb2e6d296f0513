"""Series and wishes for tests of graphs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tsdb.answer import RenderedSeries
from web.draw.graph.colors import theme
from web.draw.graph.wanted import Wanted

START_S = 1_700_000_000
SVG = "{http://www.w3.org/2000/svg}"


def wanted(template: str = "default", *, zone: str = "UTC", **further: Any) -> Wanted:
    look = theme(template)
    return Wanted(
        theme=look,
        background=look.background,
        foreground=look.foreground,
        major=look.major,
        minor=look.minor,
        lines=look.lines,
        zone=ZoneInfo(zone),
        **further,
    )


def one(
    name: str, values: Sequence[float], *, start_s: int = START_S, step_s: int = 60, **options: Any
) -> RenderedSeries:
    return RenderedSeries(
        target=0,
        name=name,
        start_s=start_s,
        end_s=start_s + step_s * len(values),
        step_s=step_s,
        values=np.array(values, np.float64),
        tags={},
        path=name,
        consolidate_by="average",
        x_files_factor=0.0,
        options=options,
    )


def texts(svg: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(svg).iter(f"{SVG}text")]


def curves(svg: str) -> list[dict[str, str]]:
    """The attributes of what is drawn within the frame."""
    return [found.attrib for found in ET.fromstring(svg).findall(f"{SVG}g/{SVG}path")]


def points(path: str) -> list[list[tuple[float, float]]]:
    """The stretches of a line."""
    stretches = [part.split("m")[0].replace(",", " ").split() for part in path.split("M")[1:]]
    return [list(zip(map(float, part[::2]), map(float, part[1::2]), strict=True)) for part in stretches]
