"""What a simulated device costs in memory: `python -m tests.scale.devices [DEVICES]`, against a server of polls.

Every device boots from its own flash, runs its tasks and polls over HTTP. Then each takes a model of 100 KiB into its
spare slot and runs it, so that it holds two models of its own. Resident memory and traced allocations are taken in
processes of their own, because tracing costs memory itself.
"""

# ruff: noqa: T201 - a benchmark prints its table
import asyncio
import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from backstay.core.device import Order
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import Plane
from backstay.simulate.chips import chips_in_memory
from backstay.simulate.ddi import DdiClient
from backstay.simulate.esp32 import Esp32
from backstay.simulate.image import digest_of
from backstay.simulate.probes import BUILT_IN
from tests.scale.measuring import machine
from tests.scale.payloads import factory, large_model
from tests.scale.serving import OUT, started
from tests.simulate.workbench import digits

AIM_KIB: Final = 256.0
SPREAD_SECONDS: Final = 10.0


def _resident_bytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def _traced_bytes() -> float:
    return float(tracemalloc.get_traced_memory()[0])


async def _held(count: int, measure: Callable[[], float]) -> dict[str, float]:
    """Bytes a device, once all run, and once all have a second model; the first hundred are not counted."""
    async with (
        started(sys.executable, "-m", "tests.scale.bare") as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1000)) as session,
        asyncio.TaskGroup() as tasks,
    ):
        chips, base = chips_in_memory(factory()), URL(f"http://{server.host}:{server.port}/")

        async def switched_on(names: range) -> list[Esp32]:
            made = [Esp32(f"dev-{n:05}", chips(""), DdiClient(session, base, "0" * 64), digits()) for n in names]
            for device in made:
                running.append(tasks.create_task(device.run()))
                await asyncio.sleep(SPREAD_SECONDS / count)
            while not all(device.life and device.life.app.board.evidence.connected for device in made):
                await asyncio.sleep(0.2)
            gc.collect()
            return made

        running: list[asyncio.Task[None]] = []
        warm = await switched_on(range(100))
        before = measure()
        devices = await switched_on(range(100, 100 + count))
        booted = (measure() - before) / count
        for device in (*warm, *devices):
            _install(device)
        while not all(_confirmed(device) for device in devices):
            await asyncio.sleep(0.2)
        gc.collect()
        found = {"running": booted, "with two models": (measure() - before) / count}
        for task in running:
            task.cancel()
    return found


def _install(device: Esp32) -> None:
    """Put the new model in as a download does, a chunk at a time."""
    assert device.life is not None
    app, now, payload = device.life.app, device.life.now(), large_model_bytes
    content = digest_of(payload)
    order = Order(1, Plane.MODEL, StepType.INSTALL, content, "2.0.0", BUILT_IN, timedelta(minutes=5), ())
    app.order(order, now)
    bank = app.board.banks[Plane.MODEL]
    download = bank.slots[bank.spare].begin(content, len(payload))
    while not download.complete:
        download.write(payload[download.wanted : download.wanted + 16_384])
    app.downloaded(order, len(payload), download.finish(), now)
    app.connected()
    device.life.stir()


def _confirmed(device: Esp32) -> bool:
    return device.life is not None and device.life.app.progress[Plane.MODEL].state is PlaneState.CONFIRMED


large_model_bytes: Final = large_model()


def _measured(how: str, count: int) -> dict[str, float]:
    command = (sys.executable, "-m", "tests.scale.devices", how, str(count))
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


def main(count: int) -> None:
    """Measure both ways, print, and write `build/bench/devices-N.json`."""
    OUT.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {how: _measured(how, count) for how in ("resident", "traced")}
    print(f"\n{count:,} simulated devices in one process")
    for how, found in figures.items():
        for what, size_bytes in found.items():
            print(f"  {f'{how}, {what}':40}{size_bytes / 1024:8.1f} KiB a device")
    report = {"machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "bytes_a_device": figures}
    (OUT / f"devices-{count}.json").write_text(json.dumps(report, indent=2) + "\n")
    most = max(figures["resident"].values()) / 1024
    if most > AIM_KIB:
        sys.exit(f"a device takes {most:.0f} KiB of resident memory, at most {AIM_KIB:.0f} are wanted")


def _measure_here(how: str, count: int) -> None:
    if how == "traced":
        tracemalloc.start()
    found = asyncio.run(_held(count, _traced_bytes if how == "traced" else _resident_bytes))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [how, count]:
            _measure_here(how, int(count))
        case [count]:
            main(int(count))
        case _:
            main(2_000)
