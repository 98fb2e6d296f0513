"""The listening sockets: opened once by the supervisor, inherited by the children, open for as long as it runs.

While a child is being restarted, the kernel keeps new connections in the socket's queue and the next process
accepts them: a restart refuses nobody.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from appliance.config import Address, Config
from appliance.errors import CannotStart

# The queue of connections that nobody has accepted yet: half a second of a busy machine, or of a restart, at 8,000
# connections/s. Who finds it full tries again a second later. The kernel cuts it to net.core.somaxconn, which is
# 4,096 by default.
BACKLOG_COUNT = 4096
PORT_ATTEMPTS_MAX = 50  # A free TCP port whose UDP twin is taken is rare; fifty in a row is a broken machine.


@dataclass(frozen=True, slots=True)
class Listener:
    """One setting that opens a socket, or a TCP and a UDP socket that share one port number."""

    setting: str  # "graphite.listen"
    tcp: str | None  # The name under which a child finds its socket.
    udp: str | None = None

    def address(self, config: Config) -> Address | None:
        """None: switched off."""
        section, _, field_name = self.setting.partition(".")
        address = getattr(getattr(config, section), field_name)
        assert address is None or isinstance(address, Address), self.setting
        return address


LISTENERS = (
    Listener("web.listen", "web"),
    Listener("graphite.listen", "graphite", "graphite_udp"),
    Listener("graphite.pickle_listen", "graphite_pickle"),
    Listener("statsd.listen", "statsd", "statsd_udp"),
    Listener("statsd.management_listen", "statsd_management"),
)


@dataclass(slots=True)
class OpenListeners:
    """The open sockets by name, and the address that each setting came to (port 0 replaced by the real one)."""

    sockets: dict[str, socket.socket] = field(default_factory=dict)
    addresses: dict[str, Address] = field(default_factory=dict)  # By setting.

    def close(self) -> None:
        for each in self.sockets.values():
            each.close()


def open_listeners(config: Config, names: set[str], listeners: tuple[Listener, ...] = LISTENERS) -> OpenListeners:
    """Open those that somebody in the process tree asks for by name. Raises: CannotStart, with all of them closed."""
    opened = OpenListeners()
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(opened.close)
        for listener in listeners:
            address = listener.address(config)
            if address is None or not names & {listener.tcp, listener.udp}:
                continue
            sockets = _open(listener, address)
            opened.sockets.update(sockets)
            port = next(iter(sockets.values())).getsockname()[1]
            opened.addresses[listener.setting] = Address(address.host, port)
        on_failure.pop_all()
    return opened


def _open(listener: Listener, address: Address) -> Mapping[str, socket.socket]:
    last: OSError | None = None
    try:
        family, where = _resolved(address)
        for _ in range(PORT_ATTEMPTS_MAX if address.port == 0 else 1):
            try:
                return dict(_bound(listener, family, where))
            except OSError as error:
                last = error
                if error.errno != errno.EADDRINUSE:
                    break
    except OSError as error:
        last = error
    assert last is not None
    raise CannotStart(_trouble(listener.setting, address, last)) from last


def _resolved(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The first numeric address of the host; IPv4 before IPv6 for names that have both, as `localhost` does."""
    found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda each: each[0] is not socket.AF_INET)
    family, *_, where = found[0]
    return family, (str(where[0]), int(where[1]))


def _bound(
    listener: Listener, family: socket.AddressFamily, where: tuple[str, int]
) -> Iterator[tuple[str, socket.socket]]:
    """Bind TCP, then UDP to the number that TCP got. Closes the first if the second fails."""
    with contextlib.ExitStack() as on_failure:
        if listener.tcp is not None:
            tcp = on_failure.enter_context(_socket(family, socket.SOCK_STREAM))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections of the run before may linger.
            tcp.bind(where)
            tcp.listen(BACKLOG_COUNT)
            where = (where[0], tcp.getsockname()[1])
            yield listener.tcp, tcp
        if listener.udp is not None:
            udp = on_failure.enter_context(_socket(family, socket.SOCK_DGRAM))
            udp.bind(where)
            yield listener.udp, udp
        on_failure.pop_all()


def _socket(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    opened = socket.socket(family, kind)
    if family is socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def _trouble(setting: str, address: Address, error: OSError) -> str:
    """One line: the setting, the address, what is wrong with it, the way out."""
    what = f"{setting}: {address}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{what} is in use by another program; stop that program, or choose another port with "
                f"--set {setting}={Address(address.host, 0)} (0 picks a free one)"
            )
        case errno.EADDRNOTAVAIL:
            return f"{what} is not an address of this machine; correct it with --set {setting}=HOST:PORT"
        case errno.EACCES | errno.EPERM:
            return f"{what} needs rights that this user has not; choose a port from 1024 on with --set {setting}=…"
        case _ if isinstance(error, socket.gaierror):
            return f"{what}: the name {address.host!r} has no address ({error.strerror}); correct it"
        case _:
            return f"{what} cannot be opened: {error.strerror or error}"
