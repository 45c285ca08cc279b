"""Faults on order: what a test or a person makes a simulated device do.

A control file `<directory>/<device>.faults.json` is an order: it is taken within a second and removed. Write
it under another name and rename it, so that it is never read half-written. Its fields, all optional:

    crash     true             the firmware panics
    reboot    true             a clean restart
    hang      true             nothing happens any more until the watchdog bites
    powerLoss true             the power goes, now
    cut       {"at", "torn"}   the power goes at the flash operation `at` from now; `torn` (0 to 1) of it is done
    offline   30               no network for so many seconds
    fail      ["camera"]       these probes fail, until the next file
    lie       {"model": "sha256:…"}  reports these running digests, until the next file

So `{}` ends the standing ones, `fail` and `lie`.
"""

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from backstay.core.planes import ContentDigest, Plane
from backstay.errors import Refused

SUFFIX: Final = ".faults.json"
_LOOK_SECONDS: Final = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Faults:
    """One order to fail."""

    crash: bool = False
    reboot: bool = False
    hang: bool = False
    power_loss: bool = False
    cut: tuple[int, float] | None = None
    offline_seconds: float = 0.0
    fail: frozenset[str] = frozenset()
    lie: Mapping[Plane, ContentDigest] = field(default_factory=dict)


_FIELDS = {"powerLoss": "power_loss", "offline": "offline_seconds"}


def parse_faults(body: Mapping[str, Any]) -> Faults:
    """Read a control file.

    Raises:
        Refused: a field is unknown or has the wrong form; says which.
    """
    found = {_FIELDS.get(name, name): value for name, value in body.items()}
    if unknown := found.keys() - {each.name for each in fields(Faults)}:
        raise Refused(f"no such fault: {', '.join(sorted(unknown))}")
    try:
        if cut := found.get("cut"):
            found["cut"] = (int(cut["at"]), float(cut.get("torn", 0)))
        found["fail"] = frozenset(str(name) for name in found.get("fail", ()))
        found["lie"] = {Plane(plane): ContentDigest(str(digest)) for plane, digest in found.get("lie", {}).items()}
        found["offline_seconds"] = float(found.get("offline_seconds", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"a fault has the wrong form: {error!r}") from error
    return Faults(**found)


def take_order(path: Path) -> Faults | None:
    """Take the order in this file, if there is one, and remove the file.

    Raises:
        Refused: the file says nothing that the device understands; it is removed all the same.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    path.unlink()
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused(f"{path} is not a JSON object")
    return parse_faults(body)


class Obeys(Protocol):
    """Whoever can be made to fail."""

    def order(self, faults: Faults) -> None:
        """Fail like this."""


async def follow_orders(directory: Path, devices: Mapping[str, Obeys]) -> NoReturn:
    """Hand each order that appears in the directory to its device, until cancelled.

    One look serves all devices: ten thousand that each look for a file of their own keep a core busy with it.
    """
    while True:
        with os.scandir(directory) as entries:
            names = [entry.name.removesuffix(SUFFIX) for entry in entries if entry.name.endswith(SUFFIX)]
        for name in names:
            try:
                if name in devices and (ordered := take_order(directory / f"{name}{SUFFIX}")):
                    devices[name].order(ordered)
            except Refused:
                log.exception("%s: the order to fail is not understood", name)
        await asyncio.sleep(_LOOK_SECONDS)
