"""Samples on their way out as a file: Arrow IPC, OpenMetrics, CSV. Whole columns become bytes; no loop over samples."""
