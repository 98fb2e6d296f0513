"""Prometheus' HTTP API on stored data, under /prometheus/api/v1.

Source of paths, arguments and shapes: Prometheus documentation, "HTTP API"; of the numbers' text:
web/api/v1/json_codec.go and util/jsonutil of Prometheus 3.
"""
