"""CSV and OpenMetrics, written by polars: a value is the shortest text that reads back to it."""

from __future__ import annotations

from typing import BinaryIO

import polars as pl

from tsdb.export.piece import Piece


class CsvWriter:
    """`series,timestamp_ms,value`, quoted as in RFC 4180. Values: 0.1, 1e-7, NaN, inf, -inf. No stale markers."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        out.write(b"series,timestamp_ms,value\n")

    def write(self, piece: Piece) -> None:
        piece = piece.without_stale()
        columns = {"series": _series(piece), "timestamp_ms": piece.timestamp_ms, "value": piece.value}
        pl.DataFrame(columns).write_csv(self._out, include_header=False)

    def finish(self) -> None:
        """A CSV file has no end of its own."""


class OpenMetricsWriter:
    """`series value seconds`, `# EOF` at the end. Values: 0.1, 1e-7, NaN, +Inf, -Inf. No stale markers.

    Source: OpenMetrics 1.0, with the quoted names of Prometheus 3 where a name needs them.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, piece: Piece) -> None:
        piece = piece.without_stale()
        time = pl.Series(piece.timestamp_ms)
        seconds = (time // 1_000).cast(pl.String) + "." + (time % 1_000).cast(pl.String).str.zfill(3)
        value = pl.Series(piece.value).cast(pl.String).replace(["inf", "-inf"], ["+Inf", "-Inf"])
        columns = {"series": _series(piece), "value": value, "seconds": seconds}
        pl.DataFrame(columns).write_csv(self._out, include_header=False, separator=" ", quote_style="never")

    def finish(self) -> None:
        self._out.write(b"# EOF\n")


def _series(piece: Piece) -> pl.Series:
    return pl.Series("series", piece.texts, pl.String).gather(pl.Series(piece.index))
