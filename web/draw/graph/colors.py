"""Colours by name or in hexadecimal digits, and the templates: sets of colours for a whole picture.

Source of the names, of what they mean and of the templates' names: graphite-web 1.1. The two templates that are used
most, default (dark) and plain (light), have its order of hues in tones that are told apart on their background.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from web.draw.graph.errors import BadPicture

_HEXADECIMAL = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Color:
    """alpha: from 0, not seen, to 1."""

    hex: str
    alpha: float = 1.0

    def faded(self, alpha: float) -> Color:
        return replace(self, alpha=self.alpha * min(max(alpha, 0.0), 1.0))


NAMED: Mapping[str, str] = {
    "black": "#000000",
    "white": "#ffffff",
    "blue": "#6464ff",
    "green": "#00c800",
    "red": "#c80032",
    "yellow": "#ffff00",
    "orange": "#ffa500",
    "purple": "#c864ff",
    "brown": "#966432",
    "cyan": "#00ffff",
    "aqua": "#009696",
    "gray": "#afafaf",
    "grey": "#afafaf",
    "magenta": "#ff00ff",
    "pink": "#ff6464",
    "gold": "#c8c800",
    "rose": "#c896c8",
    "darkblue": "#0000ff",
    "darkgreen": "#00ff00",
    "darkred": "#ff0000",
    "darkgray": "#6f6f6f",
    "darkgrey": "#6f6f6f",
}


def color(text: str) -> Color:
    """Of a name, or of 3, 6 or 8 digits; the last two of 8 say how opaque it is. Raises: BadPicture."""
    wanted = text.strip().lower()
    if wanted in NAMED:
        return Color(NAMED[wanted])
    if wanted == "transparent":
        return Color("#000000", 0.0)
    found = _HEXADECIMAL.fullmatch(wanted)
    if found is None:
        known = ", ".join(sorted(NAMED))
        raise BadPicture(f"{text[:40]!r} is no colour; write six hexadecimal digits, as in 4080ff, or one of {known}")
    digits = found[1] if len(found[1]) > 3 else "".join(digit * 2 for digit in found[1])
    return Color(f"#{digits[:6]}", int(digits[6:], 16) / 255 if digits[6:] else 1.0)


@dataclass(frozen=True, slots=True)
class Theme:
    background: Color
    foreground: Color
    major: Color  # Of grid lines at labels; those between have `minor`.
    minor: Color
    lines: tuple[Color, ...]


def _theme(background: str, foreground: str, major: str, minor: str, lines: str) -> Theme:
    colors = tuple(color(one) for one in lines.split())
    return Theme(color(background), color(foreground), color(major), color(minor), colors)


_DARK_LINES = "6ea8ff 5fd07e ff6b6b b894ff d2966b f2d24b 3fc6cf a9b1ba ff7de0 ff9d9d c9b458 d9a0c8"
_LIGHT_LINES = "1f6fd0 23924f cf3341 7d4bc2 96632e c79a00 0b8790 7d868f c22aa0 ea6f7f 8f7d12 a8679a"
_NAMED_LINES = "blue green red purple brown yellow aqua grey magenta pink gold rose"
_NOC_LINES = "blue green red yellow purple brown aqua grey magenta pink gold rose"
_SOLARIZED_LINES = "268bd2 859900 dc322f d33682 db4b16 b58900 2aa198 6c71c4"

THEMES: Mapping[str, Theme] = {
    "default": _theme("121417", "d5dae0", "ffffff30", "ffffff14", _DARK_LINES),
    "plain": _theme("ffffff", "30363c", "0000002e", "00000012", _LIGHT_LINES),
    "classic": _theme("black", "white", "ffffff50", "afafaf38", _NAMED_LINES),
    "noc": _theme("black", "white", "ffffff50", "afafaf38", _NOC_LINES),
    "summary": _theme("black", "white", "c896c860", "afafaf38", "6666ff 66ff66 ff6666"),
    "alphas": _theme("ffffff", "black", "afafafa0", "c896c860", "00ff00aa ff000077 00337799"),
    "solarized-light": _theme("fdf6e3", "586e75", "07364238", "586e751c", _SOLARIZED_LINES),
    "solarized-dark": _theme("002b36", "93a1a1", "fdf6e338", "eee8d51a", _SOLARIZED_LINES),
}
"""By the name of a template."""


def theme(name: str) -> Theme:
    """As graphite-web has it, the default one for a name that nobody knows."""
    return THEMES.get(name.lower(), THEMES["default"])
