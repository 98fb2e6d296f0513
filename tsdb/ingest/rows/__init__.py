"""Rows from the appliance's own processes, such as results of checks: msgpack of `[[labels, ms, value], …]`.

labels are pairs, as in tsdb.sample.Labels; values may be any float64, NaN included.
"""
