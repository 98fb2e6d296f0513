"""The processes of the time-series room, and the only place that sees store, intake and query together.

Each process has a module of its own, which imports what that process needs and no more: a library that one of them
needs would cost the others twenty megabytes each.
"""
