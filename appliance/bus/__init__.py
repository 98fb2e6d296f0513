"""The message bus between the processes: requests, replies and hints over ZeroMQ, in a folder that is ours alone.

A service is one Server; its Clients live in any process and thread, and find it by name. Bodies are msgpack
(msgspec), numpy columns travel beside them as raw frames. Nothing here survives a process: what must not be lost is
on disk before it is acknowledged. Layout of the frames: wire.py.
"""

from appliance.bus.asynchronous import AsyncClient, AsyncSubscriber
from appliance.bus.client import Client
from appliance.bus.errors import BusAbsent, BusError, BusGone, BusRefused, BusTimeout
from appliance.bus.publish import RESYNC, Hint, Publisher, Resync, Subscriber
from appliance.bus.server import FINISH_S, Answer, Handler, Request, Server
from appliance.bus.wire import Columns, Reply

__all__ = [
    "FINISH_S",
    "RESYNC",
    "Answer",
    "AsyncClient",
    "AsyncSubscriber",
    "BusAbsent",
    "BusError",
    "BusGone",
    "BusRefused",
    "BusTimeout",
    "Client",
    "Columns",
    "Handler",
    "Hint",
    "Publisher",
    "Reply",
    "Request",
    "Resync",
    "Server",
    "Subscriber",
]
