"""Prometheus remote-write: protobuf in snappy's block format (or zstd). `symbols` reads 2.0; all else is of 1.0:

    message WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3; }
    message TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2;
                           repeated Exemplar exemplars = 3; repeated Histogram histograms = 4; }
    message Label        { string name = 1; string value = 2; }
    message Sample       { double value = 1; int64 timestamp = 2; }

A series' name is here the very bytes of its labels as they came: the register knows those that came before, so labels
are read once in the life of a series. `body` walks from series to series; where each one's labels end and what its
samples are, `straight` finds for all series at once, if they look as Prometheus and its kin write them. Every other
form that protobuf allows, and whatever is wrong, goes through `exact`, one series at a time. `labels` reads names.
Before all of them comes `known`: a body of series that came before in the same order is compared, not read, in the
blocks of `block`.

Source: prometheus.io/docs/specs/prw/remote_write_spec, version 1.0; prompb/remote.proto and types.proto.
"""
