"""Addresses as people write them: HOST:PORT, with an IPv6 address in brackets."""

import re
from ipaddress import IPv6Address
from typing import Final

LAST_PORT: Final = 65_535
_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_SCOPE: Final = re.compile(r"[A-Za-z0-9_.-]+")
_PORT: Final = re.compile(r"[0-9]{1,5}")


def host_and_port(text: str, example: str) -> tuple[str, int]:
    """Read HOST:PORT; an IPv6 address comes without its brackets, and port 0 is one.

    Raises:
        ValueError: what is wrong with it, with an example of what is meant.

    Source: RFC 3986, section 3.2
    """
    host, colon, port = text.rpartition(":")
    if problem := _problem_of_port(colon, port) or _problem_of_host(host):
        message = f"{text!r} is not HOST:PORT, such as {example}: {problem}"
        raise ValueError(message)
    return host[1:-1] if host.startswith("[") else host, int(port)


def in_url(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _problem_of_port(colon: str, port: str) -> str:
    if not colon:
        return "there is no colon before the port"
    if not _PORT.fullmatch(port) or int(port) > LAST_PORT:
        return f"port {port!r} is no number from 0 to {LAST_PORT}"
    return ""


def _problem_of_host(host: str) -> str:
    if not host:
        return "the host is missing; write 127.0.0.1 for this machine alone, or the address that others reach"
    if host.startswith("[") and host.endswith("]"):
        return "" if _is_ipv6(host[1:-1]) else f"{host} is no IPv6 address in brackets"
    if _is_ipv6(host):
        return f"an IPv6 address stands in brackets, as in [{host}]"
    return "" if _NAME.fullmatch(host) else f"{host!r} is neither an address nor the name of a host"


def _is_ipv6(text: str) -> bool:
    address, percent, scope = text.partition("%")
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return not percent or _SCOPE.fullmatch(scope) is not None
