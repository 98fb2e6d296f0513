"""QR codes: what is drawn is the symbol of the text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
import segno

from web.auth import totp
from web.draw.qr import QUIET_MODULES, qr

SVG_STEP = re.compile(r"([Mmh])(-?[\d.]+)(?: ?(-?[\d.]+))?")


def modules_of(drawn: str) -> list[list[int]]:
    """The dark modules (1) of a drawing, without its border; the path draws a stroke per run of dark modules."""
    root = ET.fromstring(drawn)
    background, path = root.findall("./svg/g/path")
    assert (background.attrib["fill"], path.attrib["stroke"]) == ("#fff", "#000")
    side = int(re.findall(r"h(\d+)", background.attrib["d"])[0])
    rows = [[0] * side for _ in range(side)]
    x = y = 0.0
    for step, first, second in SVG_STEP.findall(path.attrib["d"]):
        if step == "h":
            for column in range(int(x), int(x + float(first))):
                rows[int(y)][column] = 1
            x += float(first)
        else:
            x, y = (float(first), float(second)) if step == "M" else (x + float(first), y + float(second))
    assert not any(any(row) for row in rows[:QUIET_MODULES] + rows[-QUIET_MODULES:])
    return [row[QUIET_MODULES:-QUIET_MODULES] for row in rows[QUIET_MODULES:-QUIET_MODULES]]


@pytest.mark.parametrize("name", ["ada", "tina totp", "ж" * 64, "𒀀" * 64])
def test_the_modules_drawn_are_those_of_the_text(name: str) -> None:
    """Also for the longest name that an account may have."""
    url = totp.otpauth_url(totp.new_secret(), name, "Henge")
    want = segno.make_qr(url, error="m", boost_error=False)
    assert modules_of(qr(url, label="a code")) == [list(row) for row in want.matrix]


def test_the_label_is_escaped_and_nothing_is_styled_inline() -> None:
    drawn = qr("x", label='a "code" <of> x')
    assert 'aria-label="a &#34;code&#34; &lt;of&gt; x"' in drawn
    assert "style" not in drawn
