"""How long the web page takes, by the number of devices: the operator's own loop stands still meanwhile.

`.venv/bin/python -m tests.scale.pages [SIZE …]` prints the table.
"""

# ruff: noqa: T201 - a benchmark prints its table
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import aiohttp
from yarl import URL

from backstay.adapters.prometheus import Prometheus
from backstay.controllers.overview import StoreOverview
from backstay.controllers.store import Store
from backstay.core.selectors import Selector
from backstay.ports.access import Kind, Person
from backstay.web.graphs import Graphs
from backstay.web.pages.page import Sources
from backstay.web.rendering import Frame, Renderer
from backstay.web.rights import Reader, Rights
from backstay.web.routes import page_at
from backstay.web.told import Told
from tests.scale.fleets import Scene, fleet_of
from tests.scale.measuring import Figure, timed
from tests.web.stage import StageAccess, StageChronicle, StageClock

SIZES = (1_000, 10_000, 100_000)
PAGES = {
    "overview": ("/", {}),
    "devices, the first page": ("/acme/devices", {}),
    "devices, a page from the middle": ("/acme/devices", {"after": "cam-0000500"}),
    "devices, a state that few have": ("/acme/devices", {"state": "Offline"}),
    "devices, a version that nobody runs": ("/acme/devices", {"plane": "model", "version": "0.0.0"}),
    "devices, labels that nobody has": ("/acme/devices", {"labels": "region=nowhere"}),
    "holds": ("/acme/holds", {}),
}


def figures(size: int) -> Iterator[Figure]:
    """All figures for one number of devices."""
    with asyncio.Runner() as runner:
        yield from _figures(size, runner)


def _figures(size: int, runner: asyncio.Runner) -> Iterator[Figure]:
    store, clock = Store(), StageClock()
    for group, label in (("cameras", "eu"), ("warehouses", "us")):
        store.fleets.set_group("acme", group, Selector.labels(region=label))
    devices = fleet_of(size, Scene.ROLLING)
    for device in devices:
        store.fleets.put(("acme", device))
    changed = cycle(devices[:2_000])
    version = iter(range(10**6, 10**9))

    def take_in() -> None:
        store.fleets.put(("acme", replace(next(changed), resource_version=str(next(version)))))

    yield timed("a device's change taken in, counts and all", size, take_in)
    access = StageAccess()
    access.let_in("token", "ada", {None: frozenset(Kind)})
    reader, renderer = Reader(Person("ada", "uid-ada"), Rights(access, clock)), Renderer()

    async def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    http = runner.run(session())
    sources = Sources(
        StoreOverview(store), Told(StageChronicle(None), clock), Graphs(Prometheus(http, ""), clock), clock
    )  # type: ignore[arg-type]
    for what, (path, query) in PAGES.items():
        page = page_at(URL.build(path=path, query=query))

        def shown(page=page, path=path) -> str:
            content = runner.run(page.read(reader, sources))
            return renderer.page(content, Frame("auto", path, "ada"))

        yield timed(f"page: {what}", size, shown)
    runner.run(http.close())


if __name__ == "__main__":
    for number in [int(size) for size in sys.argv[1:]] or SIZES:
        print(f"\n{number:,} devices")
        for one in figures(number):
            print(f"  {one.what:58}{one.median_ms:9.2f} ms   {one.fastest_ms:.2f} to {one.slowest_ms:.2f}")
