"""Addresses to listen on, as people write them."""

from typing import Final

import typer

LAST_PORT: Final = 65535


def address_of(listen: str, option: str, example: str = "127.0.0.1:8080") -> tuple[str, int]:
    """The host and the port of HOST:PORT.

    Raises:
        typer.BadParameter: naming the option, with an example.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > LAST_PORT:
        raise typer.BadParameter(f"{listen!r} is not HOST:PORT, such as {example}", param_hint=option)
    return host, int(port)
