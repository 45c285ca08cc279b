"""`HOST:PORT`, as the options that let a process listen take it."""

import typer

LAST_PORT = 65535


def address(text: str, option: str) -> tuple[str, int]:
    """A host and a port.

    Raises:
        typer.BadParameter: naming the option.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > LAST_PORT:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080", param_hint=option)
    return host.strip("[]"), int(port)
