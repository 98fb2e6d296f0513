"""Prometheus' remote read: a request of several selections, answered with samples or with a stream of XOR chunks.

Source: prompb/remote.proto and storage/remote/codec.go of Prometheus 3; tsdb/docs/format/chunks.md for the chunks.
"""

from tsdb.query.remote_read.answer import frames_of, samples_message
from tsdb.query.remote_read.request import Asked, ReadRequest, read_request

__all__ = ["Asked", "ReadRequest", "frames_of", "read_request", "samples_message"]
