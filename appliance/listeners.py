"""The listening sockets: opened by the supervisor, inherited by the children, open until it ends or they move.

While a child is being restarted, the kernel keeps new connections in the socket's queue and the next process
accepts them: a restart refuses nobody. A reload that changes an address opens the new socket before the old one is
closed.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from appliance.config import Address, Config
from appliance.errors import CannotStart

# The queue of connections that nobody has accepted yet: half a second of a busy machine, or of a restart, at 8,000
# connections/s. Who finds it full tries again a second later. The kernel cuts it to net.core.somaxconn, which is
# 4,096 by default.
BACKLOG_COUNT = 4096
ANOTHER_PROGRAM = "another program"
PORT_ATTEMPTS_MAX = 50  # A free TCP port whose UDP twin is taken is rare; fifty in a row is a broken machine.


@dataclass(frozen=True, slots=True)
class Listener:
    """One setting that opens a socket, or a TCP and a UDP socket that share one port number."""

    setting: str  # "graphite.listen"
    tcp: str | None  # The name under which a child finds its socket.
    udp: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.tcp, self.udp) if name is not None)

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

    def replace(self, moved: Iterable[Listener], opened: OpenListeners) -> None:
        """Close what these had, and have what they have now. Whoever inherited an old socket still holds it."""
        for listener in moved:
            self.addresses.pop(listener.setting, None)
            for name in listener.names:
                if (old := self.sockets.pop(name, None)) is not None:
                    old.close()
        self.sockets.update(opened.sockets)
        self.addresses.update(opened.addresses)


def reopen_listeners(
    opened: OpenListeners, config: Config, names: set[str], moved: Iterable[Listener]
) -> OpenListeners:
    """Open those that have another address now, while the old ones are open. Raises: CannotStart; all is as it was.

    A new address may take in the old one (0.0.0.0:2003 and 127.0.0.1:2003), which the kernel allows to sockets of one
    user that share their port on purpose: they do for a moment.
    """
    old = [opened.sockets[name] for listener in moved for name in listener.names if name in opened.sockets]
    with contextlib.ExitStack() as afterwards:
        for each in old:
            _share_port(each, True)
            afterwards.callback(_share_port, each, False)
        found = open_listeners(config, names, tuple(moved), who_has=who_has, shares_port=True)
    taken: dict[tuple[object, ...], str] = {}
    for name, each in found.sockets.items():  # The kernel would give one port to two of them.
        if (other := taken.setdefault((each.type, *each.getsockname()), name)) != name:
            found.close()
            raise CannotStart(
                f"{other} and {name} cannot both listen on {each.getsockname()[:2]}; give one another port"
            )
    return found


def _share_port(sock: socket.socket, is_shared: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(is_shared))


def who_has(port: int) -> str:
    """The program that has a socket at a port, for people."""
    from appliance.holders import holders  # Not worth its memory to a supervisor whose addresses are free.

    named = [f"{holder.name} (process {holder.pid})" for holder in holders(port) if holder.pid is not None]
    return " and ".join(named) or ANOTHER_PROGRAM


def open_listeners(
    config: Config,
    names: set[str],
    listeners: tuple[Listener, ...] = LISTENERS,
    *,
    who_has: Callable[[int], str] = lambda _port: ANOTHER_PROGRAM,
    shares_port: bool = False,
) -> OpenListeners:
    """Open those that somebody in the process tree asks for by name. Raises: CannotStart, with all of them closed.

    shares_port: while it is bound; see reopen_listeners().
    """
    opened = OpenListeners()
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(opened.close)
        for listener in listeners:
            address = listener.address(config)
            if address is None or names.isdisjoint(listener.names):
                continue
            sockets = _open(listener, address, who_has, shares_port)
            opened.sockets.update(sockets)
            port = next(iter(sockets.values())).getsockname()[1]
            opened.addresses[listener.setting] = Address(address.host, port)
        on_failure.pop_all()
    return opened


def _open(
    listener: Listener, address: Address, who_has: Callable[[int], str], shares_port: bool
) -> Mapping[str, socket.socket]:
    last: OSError | None = None
    try:
        family, where = _resolved(address)
        for _ in range(PORT_ATTEMPTS_MAX if address.port == 0 else 1):
            try:
                return dict(_bound(listener, family, where, shares_port))
            except OSError as error:
                last = error
                if error.errno != errno.EADDRINUSE:
                    break
    except OSError as error:
        last = error
    assert last is not None
    holder = who_has(address.port) if last.errno == errno.EADDRINUSE else ""
    raise CannotStart(_trouble(listener.setting, address, last, holder)) from last


def _resolved(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The first numeric address of the host; IPv4 before IPv6 for names that have both, as `localhost` does."""
    found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda each: each[0] is not socket.AF_INET)
    family, *_, where = found[0]
    return family, (str(where[0]), int(where[1]))


def _bound(
    listener: Listener, family: socket.AddressFamily, where: tuple[str, int], shares_port: bool
) -> Iterator[tuple[str, socket.socket]]:
    """Bind TCP, then UDP to the number that TCP got. Closes the first if the second fails."""
    with contextlib.ExitStack() as on_failure:
        if listener.tcp is not None:
            tcp = on_failure.enter_context(_socket(family, socket.SOCK_STREAM))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections of the run before may linger.
            _share_port(tcp, shares_port)
            tcp.bind(where)
            tcp.listen(BACKLOG_COUNT)
            _share_port(tcp, False)
            where = (where[0], tcp.getsockname()[1])
            yield listener.tcp, tcp
        if listener.udp is not None:
            udp = on_failure.enter_context(_socket(family, socket.SOCK_DGRAM))
            _share_port(udp, shares_port)
            udp.bind(where)
            _share_port(udp, False)
            yield listener.udp, udp
        on_failure.pop_all()


def _socket(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    opened = socket.socket(family, kind)
    if family is socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def _trouble(setting: str, address: Address, error: OSError, holder: str = ANOTHER_PROGRAM) -> str:
    """One line: the setting, the address, what is wrong with it, the way out."""
    what = f"{setting}: {address}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{what} is in use by {holder}; stop that program, or choose another port with "
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
