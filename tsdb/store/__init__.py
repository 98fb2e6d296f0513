"""Columns → write-ahead log → head → blocks. `engine` is the one door."""
