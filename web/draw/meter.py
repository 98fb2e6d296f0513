"""A meter: how much of a limit is used."""

from __future__ import annotations

from markupsafe import Markup, escape

WIDTH, HEIGHT = 200, 8
WARNING_FROM, CRITICAL_FROM = 0.8, 0.95


def meter(used: float, limit: float, *, label: str) -> Markup:
    share = min(max(used / limit, 0.0), 1.0) if limit > 0 else 0.0
    css_class = "critical" if share >= CRITICAL_FROM else "warning" if share >= WARNING_FROM else ""
    return Markup(  # noqa: S704 - built from numbers and escaped text only.
        f'<svg class="meter" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}: {share:.0%}"><rect class="track" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
        f'<rect class="value {css_class}" width="{share * WIDTH:.1f}" height="{HEIGHT}" rx="4"/></svg>'
    )
