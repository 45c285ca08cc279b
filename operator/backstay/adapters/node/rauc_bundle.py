"""What is in a RAUC bundle, by RAUC's own reading of it, which checks the signature first.

Source: https://rauc.readthedocs.io/en/v1.8/reference.html (command-line: `rauc info`) and rauc(1)
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.node.programs import ended
from backstay.core.device import Cause, Reason
from backstay.errors import Unavailable
from backstay.ports.installer import CannotInstall

_SECONDS: Final = 120.0
"""For a bundle of gigabytes on a slow disk, whose bytes are all hashed."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that RAUC's keyring vouches for."""

    compatible: str
    version: str
    images: tuple[tuple[str, str], ...]
    """The class of the slot that each image goes to, and the SHA-256 of it, as RAUC notes it once it is written."""


async def read_bundle(path: Path, configuration: Path | None = None) -> Bundle:
    """Let RAUC check a bundle and say what is in it.

    Raises:
        CannotInstall: it is no bundle, or no signature of it is by a key of this node's keyring.
        Unavailable: RAUC is not there, or takes too long.
    """
    chosen = () if configuration is None else ("--conf", str(configuration))
    done = await ended("rauc", *chosen, "info", "--output-format=json", str(path), seconds=_SECONDS)
    if done.status:
        raise CannotInstall(Cause(Reason.REJECTED, f"RAUC does not take the bundle: {done.last_complaint}"))
    return _bundle(done.said)


def _bundle(said: str) -> Bundle:
    try:
        about: dict[str, Any] = json.loads(said)
        images = ((slot, image["checksum"]) for entry in about["images"] for slot, image in entry.items())
        return Bundle(str(about["compatible"]), str(about["version"]), tuple(sorted(images)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(
            f"rauc info said something else than its JSON: {said[:200]!r}; is it a newer RAUC?"
        ) from error
