"""The numeric ground of every query language: numpy operations over (series, steps) matrices.

Nothing here knows labels, names or grammar, and nothing loops in Python over samples, series or steps. Selections come
in CSR form (tsdb.sample.Selection); `positions` turns times into sample indices, `windows` gives ranges of them, and
the other modules reduce windows or rows:

- `steps`: the evaluation times, and the matrix of values with its mask
- `positions`: for every (series, step) the samples seen until then
- `windows`, `sums`, `extremes`, `spread`, `changes`, `rates`: one value for every (series, step) from a window
- `groups`, `order`: rows reduced or ranked by group
"""
