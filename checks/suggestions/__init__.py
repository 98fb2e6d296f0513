"""Which checks suit an address that somebody types: what it may be, what to look at, and what of that to suggest.

Everything here is pure; scheduler/looking.py runs what `candidates` names and hands the results to `suggestions`.
"""

from __future__ import annotations
