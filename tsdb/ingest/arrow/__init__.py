"""Arrow IPC streams: whole columns, as data frames and other programs for columns have them.

    series         utf8, large_utf8, utf8_view, or a dictionary of them with any integer index
    timestamp_ms   int64
    value          float64

in any order, and other columns that are passed over; several batches; buffers as they are, or each compressed with lz4
(frames) or zstd. A dictionary may be replaced between batches; deltas are refused. A row with a null is refused. A
series is named as Prometheus does, `name{label="value"}`, or as Graphite does, `a.b.c;tag=value`.

Nothing in a stream is trusted: `flatbuffer` checks every step through the metadata, `messages` what they say, `buffers`
that each lies in its body and how large it becomes before memory is asked for, `text` that offsets rise within their
data. A reader made for speed among friends is no good here: polars' hung and took gigabytes on 4.5 kB of a changed
stream.

Source: arrow.apache.org/docs/format/Columnar.html, "Serialization and Interprocess Communication"; format/Message.fbs
and format/Schema.fbs of Apache Arrow.
"""
