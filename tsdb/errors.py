"""The error tree of the time-series room, by what the caller can do.

TsdbError ─┬─ RefusedSample (change it and send again; 400) ─┬─ TooManySeries
           │                                                 └─ BodyTooLarge (split it; 413)
           ├─ RefusedQuery  (change the expression; 400 or 422) ─┬─ NotSupported, QueryTimeout, QueryCancelled
           │                                                     └─ QueryFailed (not with these data) ── QueryTooLarge
           ├─ CorruptData   (quarantine, repair)
           └─ NotReady      (try again later; 503) ─┬─ StaleEpoch (register the series again), QueriesBusy
                                                    └─ DiskFull (507-like: writes are refused, reads go on)
"""

from __future__ import annotations


class TsdbError(Exception):
    """The root of the tree. `code` is a short word for counters and JSON errors."""

    code = "tsdb"


class RefusedSample(TsdbError):
    """A sample or a label set that cannot be stored as it is.

    reason: the short word under which it is counted in henge_ingest_refused_total.
    """

    code = "refused_sample"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TooManySeries(RefusedSample):
    code = "too_many_series"

    def __init__(self, series_count: int, series_count_max: int) -> None:
        super().__init__(
            "too_many_series",
            f"a new series was refused: it would be series {series_count:,} of at most {series_count_max:,}; "
            f"send fewer distinct label sets, or raise store.series_count_max",
        )


class BodyTooLarge(RefusedSample):
    """One request brings more than a limit allows, as it came or decompressed; the text names count and limit."""

    code = "body_too_large"

    def __init__(self, message: str) -> None:
        super().__init__("body_too_large", message)


class RefusedQuery(TsdbError):
    """An expression or a range that is wrong or not allowed; the text says where and why."""

    code = "bad_data"


class NotSupported(RefusedQuery):
    """Grammar or a function that is right in PromQL and not built here yet: refused by name, never answered wrongly."""

    code = "not_supported"
    WORDS = " is not supported yet"

    def __init__(self, what: str) -> None:
        super().__init__(what + self.WORDS)
        self.what = what


class QueryFailed(RefusedQuery):
    """A right expression that these data do not allow, such as a match of many series to many."""

    code = "execution"


class QueryTooLarge(QueryFailed):
    """It would read or hold more than a limit allows; the text names count and limit."""


class QueryTimeout(RefusedQuery):
    code = "timeout"


class QueryCancelled(RefusedQuery):
    """Whoever asked has left; spelled as Prometheus does."""

    code = "canceled"


class CorruptData(TsdbError):
    """Stored bytes that are not what was written: the text names the file, the offset and what was found."""

    code = "corrupt_data"


class NotReady(TsdbError):
    code = "not_ready"


class StaleEpoch(NotReady):
    """The batch names ids of an earlier start of the store; register its series again and send it again."""

    code = "stale_epoch"


class DiskFull(NotReady):
    code = "disk_full"


class QueriesBusy(NotReady):
    """Too many queries run or wait, or hold too much memory together; the text names the limit."""

    code = "too_many_queries"


_BUS_TROUBLE = ("busy", "gone", "stopping", "crashed", "internal")


def error_of(code: str, message: str) -> TsdbError:
    """The error again on the other side of the bus, from its code and its text."""
    if code in _BUS_TROUBLE:
        return NotReady(message)
    if code == NotSupported.code:
        return NotSupported(message.removesuffix(NotSupported.WORDS))
    if code == RefusedSample.code:
        return RefusedSample(code, message)
    if code == BodyTooLarge.code:
        return BodyTooLarge(message)
    kinds = (StaleEpoch, DiskFull, QueriesBusy, NotReady, CorruptData)
    kinds_of_queries = (QueryFailed, QueryTimeout, QueryCancelled, RefusedQuery)
    return next((kind(message) for kind in (*kinds, *kinds_of_queries) if kind.code == code), TsdbError(message))
