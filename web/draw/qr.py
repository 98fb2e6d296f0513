"""A QR code (ISO/IEC 18004), for a camera to read from the screen."""

from __future__ import annotations

from markupsafe import Markup, escape

QUIET_MODULES = 4  # The light border that the standard asks for; without it many cameras find nothing.
MODULE_PIXELS = 5  # 49 modules and border are 245 px: read from half a metre, and not wider than a phone.


def qr(text: str, *, label: str) -> Markup:
    """Dark on light in every theme: many cameras do not read an inverted code.

    label: what it is, for who cannot see it; what it says must stand beside it as text.
    Raises: segno.DataOverflowError, above about 2,300 bytes.
    """
    import segno  # 30 ms, for a page that each person sees once.

    symbol = segno.make_qr(text, error="m", boost_error=False)
    drawn = symbol.svg_inline(scale=MODULE_PIXELS, border=QUIET_MODULES, dark="#000", light="#fff", svgclass="qr")
    return Markup(f'<span role="img" aria-label="{escape(label)}">{drawn}</span>')  # noqa: S704 - drawn holds no text.
