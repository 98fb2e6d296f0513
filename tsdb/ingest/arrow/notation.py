"""Plain names in Prometheus' notation → canonical label bytes, a column at a time.

Plain is what exporters and data frames write: `up{instance="h:9100",job="node"}` with labels in order, that begin with
a small letter (so that `__name__` stands before them), and values without quotes, escapes, `=` and control characters.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import polars as pl

from tsdb.canonical import Bools, CanonicalColumn
from tsdb.ingest.spelling import Plain
from tsdb.sample import LABEL_COUNT_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, METRIC_NAME, SEPARATOR

_LABEL = r'[a-z][a-zA-Z0-9_.:]*="[^"\\=\x00-\x1f]+"'
_PLAIN = rf"\A[a-zA-Z_:][a-zA-Z0-9_.:]*\{{(?:{_LABEL},)*{_LABEL}\}}\z"
_VALUE = r'="[^"]*"'
# What separates parts of a name, in the order in which they are replaced: opening quotes first, so that every quote
# that is left closes a value.
_SEPARATED = ('="', '",', '"}')
_STAND_IN = "\0"  # For the separator, which a text of polars cannot hold.
_PREFIX = METRIC_NAME + _STAND_IN


def plain_names(names: pl.Series) -> Plain:
    """The plain ones of some names."""
    is_plain = (names.str.len_bytes() <= LABEL_VALUE_BYTES_MAX) & names.str.contains(_PLAIN)
    names = names.filter(is_plain)
    crooked = _with_crooked_labels(names)
    if crooked.any():
        taken = is_plain.to_numpy().copy()
        taken[taken] = ~crooked
        is_plain, names = pl.Series(taken), names.filter(pl.Series(~crooked))
    if not len(names):
        return Plain(is_plain.to_numpy(), CanonicalColumn.of(()))
    parts = names.str.replace("{", _STAND_IN, literal=True)
    for between in _SEPARATED:
        parts = parts.str.replace_all(between, _STAND_IN, literal=True)
    canonical = np.frombuffer(bytearray((_PREFIX + parts.str.join(_PREFIX).item()).encode()), np.uint8)
    canonical[canonical == 0] = SEPARATOR[0]
    ends = np.cumsum(parts.str.len_bytes().to_numpy().astype(np.int64) + len(_PREFIX))
    return Plain(is_plain.to_numpy(), CanonicalColumn(canonical, ends))


def _with_crooked_labels(names: pl.Series) -> Bools:
    """Which names have labels out of order, twice, or over a limit. Names of one exporter share few sets of labels."""
    labels = names.str.replace_all(_VALUE, "").str.replace(r"\A[^{]*", "")
    wrong = [one for one in labels.unique().to_list() if not _are_in_order(one)]
    return labels.is_in(wrong).to_numpy() if wrong else np.zeros(len(names), np.bool_)


def _are_in_order(labels: str) -> bool:
    """labels: `{a,b}`."""
    found = re.findall("[^{},]+", labels)
    is_short = len(found) < LABEL_COUNT_MAX and all(len(one) <= LABEL_NAME_BYTES_MAX for one in found)
    return is_short and all(one < other for one, other in pairwise(found))
