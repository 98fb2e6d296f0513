"""Traces: what happens to one check, channel, metric or request, told live to whoever asks, and to nobody else.

A process has a Tracer with a Tap for each kind of thing that it knows. A place on the way of such a thing asks
`tap.is_on`, one attribute, and goes on; only while somebody looks does it say more. Everything about a trace is
bounded: how many there are, what is told of one in a second, what waits for its client, and how long it lasts.
"""

from appliance.tracing.tracer import Tap, Tracer, TraceRefused

__all__ = ["Tap", "TraceRefused", "Tracer"]
