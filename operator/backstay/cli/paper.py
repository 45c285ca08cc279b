"""What commands print tables and long sentences on."""

from rich.console import Console

PIPED_WIDTH = 1000
"""Wide enough that nothing is cut or wrapped that a script, a file or a guide is to hold."""


def paper() -> Console:
    """As wide as the terminal, and without an edge where there is none."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    return console
