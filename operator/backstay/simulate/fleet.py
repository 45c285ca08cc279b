"""A fleet of simulated devices in one process, as a JSON file describes it.

    {"bridge": {"gw-eu": "http://127.0.0.1:1234"}, "namespace": "acme", "digits": "held-out.npz",
     "factory": {"firmware": {"path": "fw.bin"}, "model": {"path": "m.bsm", "version": "1.0.0",
                 "requires": {"firmware": ">=1.0.0"}}, "config": {"path": "c.json", "version": "1.0.0"}},
     "devices": [{"name": "cam-1", "gateway": "gw-eu", "token": "<hex>"}],
     "watchdog_seconds": 5}

Paths are relative to the file. A factory payload may be a bare path; its version is then 0.0.0, for firmware the
image's own. `<directory>/<device>.flash` is made at the device's first start and kept, unless the fleet's flash is in
memory; `<directory>/<device>.faults.json` orders faults.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from backstay.core.planes import Plane
from backstay.errors import Refused
from backstay.simulate.chips import Chips
from backstay.simulate.ddi import DdiClient
from backstay.simulate.esp32 import WATCHDOG_SECONDS, Esp32
from backstay.simulate.factory import Payload
from backstay.simulate.faults import follow_orders
from backstay.simulate.image import verify_image
from backstay.simulate.report import AGENT
from backstay.simulate.serving import Digits

_REQUESTS_AT_ONCE: Final = 200
"""For all devices together; they take turns, because most of the time they have nothing to say."""
_KEEPALIVE_SECONDS: Final = 20.0
"""Less than a bridge waits on a silent connection, or a request would meet the end of its connection."""
_FIELDS: Final = {"bridge", "namespace", "digits", "factory", "devices", "watchdog_seconds"}


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the fleet."""

    name: str
    base: URL
    token: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet file, read."""

    members: tuple[Member, ...]
    factory: Mapping[Plane, Payload]
    digits: Digits
    watchdog_seconds: float = WATCHDOG_SECONDS

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a fleet file and what it names.

        Raises:
            Refused: the file, a field of it or a file that it names is missing or wrong; says which.
        """
        try:
            body = json.loads(path.read_bytes())
            if unknown := body.keys() - _FIELDS:
                raise Refused(f"{path} has unknown fields: {', '.join(sorted(unknown))}")
            at = path.parent
            return cls(
                tuple(_member(device, body["bridge"], body["namespace"]) for device in body["devices"]),
                {Plane(plane): _payload(Plane(plane), found, at) for plane, found in body["factory"].items()},
                Digits.load(at / body["digits"]),
                float(body.get("watchdog_seconds", WATCHDOG_SECONDS)),
            )
        except OSError as error:
            raise Refused(f"cannot read {error.filename}, which {path} needs: {error.strerror}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"{path} is no fleet file: {error!r}") from error

    async def run(self, directory: Path, chips: Chips, spread_seconds: float = 0.0) -> None:
        """Switch every device on, one after the other over so many seconds, and run them until cancelled."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        async with (
            aiohttp.ClientSession(connector=connector, headers={"User-Agent": AGENT}) as session,
            asyncio.TaskGroup() as tasks,
        ):
            devices = self.devices(chips, session)
            tasks.create_task(follow_orders(directory, {device.name: device for device in devices}))
            for number, device in enumerate(devices):
                after = number / len(devices) * spread_seconds
                tasks.create_task(_switched_on(device, after), name=device.name)

    def devices(self, chips: Chips, session: aiohttp.ClientSession) -> tuple[Esp32, ...]:
        """Make the devices, each on its own flash."""
        turns = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        return tuple(
            Esp32(
                member.name,
                chips(member.name),
                DdiClient(session, member.base, member.token, turns),
                self.digits,
                watchdog_seconds=self.watchdog_seconds,
            )
            for member in self.members
        )


async def _switched_on(device: Esp32, after_seconds: float) -> None:
    await asyncio.sleep(after_seconds)
    await device.run()


def _member(device: Mapping[str, Any], bridges: Mapping[str, str], namespace: str) -> Member:
    name, gateway = str(device["name"]), str(device["gateway"])
    if gateway not in bridges:
        raise Refused(f"the device {name} is behind {gateway}, for which the fleet file names no bridge")
    return Member(name, URL(bridges[gateway]) / namespace / "controller" / "v1" / name, str(device["token"]))


def _payload(plane: Plane, found: str | Mapping[str, Any], at: Path) -> Payload:
    told: Mapping[str, Any] = {"path": found} if isinstance(found, str) else found
    data = (at / told["path"]).read_bytes()
    version = verify_image(data).version if plane is Plane.FIRMWARE else str(told.get("version", "0.0.0"))
    return Payload(data, version, dict(told.get("requires", {})))
