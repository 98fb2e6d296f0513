"""Graphite's ways in: lines, and pickles of the same (`pickles`, which `frames` cuts and `opcodes` reads).

A line a sample, `path value timestamp`; time in seconds since 1970, fractions allowed.

    servers.web1.cpu.user 12.5 1700000000
    disk.used;server=web1;disk=sda 71 1700000000.25
    requests{code="200"} 18 -1                        (-1: now)

Fields are separated by blanks and tabs, as many as the sender likes; a line ends with LF or CR LF. A path is a metric
name; tags become labels. `lines` decodes whole batches in columns, `exact` one line at a time: whatever `lines` is not
sure of goes through `exact`, so both always agree. `names` reads the tags.

Source: carbon 1.1.10, lib/carbon/protocols.py and util.py (TaggedSeries). Where carbon stores and we refuse: negative
times other than -1, numbers with underscores (`1_000`), and times after the year 9999.
"""
