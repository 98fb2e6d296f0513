"""Immutable files of compressed samples, one aligned window of time each. Layout: docs/format/block.md.

`tile` maps columns to bytes, `layout` names the parts of a file, `writer` makes one, `file` reads one.
"""
