"""The listening sockets: one number for TCP and UDP, IPv6, and one line for each thing that can be wrong."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from appliance import listeners
from appliance.config import Address, Config, load
from appliance.errors import CannotStart
from appliance.listeners import OpenListeners, open_listeners

GRAPHITE = {"graphite", "graphite_udp"}


def config(*overrides: str) -> Config:
    return load(data_dir=Path("/nowhere"), overrides=overrides, environ={})


def opened(names: set[str], *overrides: str) -> OpenListeners:
    return open_listeners(config(*overrides), names)


def trouble(names: set[str], *overrides: str) -> str:
    with pytest.raises(CannotStart) as raised:
        opened(names, *overrides)
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_tcp_and_udp_share_one_port_that_port_0_picks(host: str) -> None:
    found = opened(GRAPHITE, f"graphite.listen={host}:0")
    try:
        ports = {each.getsockname()[1] for each in found.sockets.values()}
        assert set(found.sockets) == GRAPHITE
        assert len(ports) == 1
        assert str(found.addresses["graphite.listen"]) == f"{host}:{ports.pop()}"
    finally:
        found.close()


def test_only_what_somebody_asks_for_is_opened_and_off_is_off() -> None:
    found = opened({"web", "graphite"}, "web.listen=127.0.0.1:0", "graphite.listen=")
    try:
        assert set(found.sockets) == {"web"}
    finally:
        found.close()


def test_a_udp_twin_that_is_taken_makes_port_0_try_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the number that TCP got is in use for UDP."""
    failures = iter([True, True])
    real = listeners._socket

    def sometimes_taken(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        if kind is socket.SOCK_DGRAM and next(failures, False):
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, kind)

    monkeypatch.setattr(listeners, "_socket", sometimes_taken)
    found = opened(GRAPHITE, "graphite.listen=127.0.0.1:0")
    found.close()
    assert next(failures, None) is None


def test_a_udp_port_in_use_is_refused_and_nothing_stays_open() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        said = trouble(GRAPHITE | {"web"}, "web.listen=127.0.0.1:0", f"graphite.listen=127.0.0.1:{port}")
    assert said == (
        f"graphite.listen: 127.0.0.1:{port} is in use by another program; stop that program, or choose another port "
        f"with --set graphite.listen=127.0.0.1:0 (0 picks a free one)"
    )
    with socket.create_server(("127.0.0.1", port)):
        pass  # The TCP half was closed again.


def test_an_address_of_another_machine_is_named() -> None:
    said = trouble({"web"}, "web.listen=192.0.2.1:8420")
    assert said == (
        "web.listen: 192.0.2.1:8420 is not an address of this machine; correct it with --set web.listen=HOST:PORT"
    )


def test_a_name_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert "the name 'no.such.host' has no address" in trouble({"web"}, "web.listen=no.such.host:8420")


def test_a_port_that_needs_rights_is_named() -> None:
    refusal = listeners._trouble("web.listen", Address("127.0.0.1", 80), PermissionError(errno.EACCES, "denied"))
    assert "web.listen: 127.0.0.1:80 needs rights that this user has not" in refusal
