"""relay-rules.conf: read to say where carbon's relay passed samples on to, which Henge does not.

Source: carbon 1.1.10, lib/carbon/relayrules.py.
"""

from __future__ import annotations

from tsdb.carbon.sections import sections_of


def read_relay(text: str) -> list[str]:
    """Where to, by section. Raises: ValueError, where carbon would not start."""
    sections = sections_of(text)
    for section in sections:
        is_default = section.options.get("default", "").lower() == "true"
        if is_default and "pattern" in section.options:
            raise ValueError(f"[{section.name}] is the default and has a pattern; only one of them can be")
        if not is_default and "pattern" not in section.options:
            raise ValueError(f"[{section.name}] has no pattern and is not the default")
        if not section.options.get("destinations"):
            raise ValueError(f"[{section.name}] has no destinations")
    defaults = [one.name for one in sections if one.options.get("default", "").lower() == "true"]
    if len(defaults) != 1:
        raise ValueError(f"{len(defaults)} sections are the default; it must be one")
    return [f"[{one.name}] to {one.options['destinations']}" for one in sections]
