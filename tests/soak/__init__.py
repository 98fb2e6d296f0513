"""An hour of everything at once, with memory, lateness and the log watched: `python -m tests.soak`."""
