import socket
from dataclasses import astuple

from backstay.sandbox.ports import free_ports, is_free


def test_ports_are_free_and_differ():
    ports = astuple(free_ports())

    assert len(set(ports)) == len(ports)
    assert all(is_free(port) for port in ports)


def test_port_is_not_free_when_somebody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])
