"""The file on the node that names the one EdgeDevice which may command it: whoever writes it owns the node anyway."""

import os
import re
import stat
from pathlib import Path
from typing import Final

from backstay.agent.node import Commander
from backstay.errors import Refused

_LINE: Final = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)\n?")


def read_commander(path: Path, owner: int = 0) -> Commander:
    """Read the file; blocking, for the start.

    Raises:
        Refused: it is not there, is no NAMESPACE/NAME, or somebody else than its owner could have written it.
    """
    hint = f"write NAMESPACE/NAME of the EdgeDevice into it, as root: echo acme/box-1 > {path}"
    try:
        with path.open("rb") as file:
            found, text = os.fstat(file.fileno()), file.read(512).decode("ascii", errors="replace")
    except OSError as error:
        raise Refused(f"nobody may command this node: {path} cannot be read ({error}); {hint}") from error
    if found.st_uid not in {owner, os.geteuid()} or stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise Refused(f"{path} could have been written by others than its owner: chown root {path}; chmod 644 {path}")
    if (line := _LINE.fullmatch(text)) is None:
        raise Refused(f"{path} does not name an EdgeDevice: {hint}")
    return Commander(line[1], line[3])
