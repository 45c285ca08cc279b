"""Addresses to listen on, as options of the command line."""

import typer

from backstay.core.addresses import host_and_port


def address_of(listen: str, option: str, example: str = "127.0.0.1:8080") -> tuple[str, int]:
    """The host and the port of HOST:PORT; an IPv6 address comes without its brackets.

    Raises:
        typer.BadParameter: naming the option, with an example.
    """
    try:
        return host_and_port(listen, example)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
