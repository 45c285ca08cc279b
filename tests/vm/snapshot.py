"""A machine that has booted once, as the factory delivers it: tests go on from there instead of booting each.

What differs from test to test comes after it: the agent's disk is not mounted in it, and certificates, ports and the
time are delivered to the machine that goes on.
"""

import asyncio
import subprocess
from pathlib import Path

from tests.vm import machine, monitor
from tests.vm.image_builder import Image, alone, build, digest, made
from tests.vm.machine import Begun, Machine, unavailable


def prepared() -> tuple[Image, Begun]:
    """The image for this checkout and a machine that has booted it, made now where the cache has them not."""
    image = build()
    version = subprocess.run(("qemu-system-x86_64", "--version"), check=True, capture_output=True).stdout
    sources = (Path(one).read_bytes() for one in (__file__, machine.__file__, monitor.__file__))
    key = digest(image.disk.name, version, *sources)
    with alone():
        directory = made("begun", key, "a machine that has booted", lambda to: asyncio.run(_take(image, to)))
    return image, Begun(directory / "disk.qcow2", directory / "memory")


async def _take(image: Image, to: Path) -> None:
    async with Machine(to, image) as booted:
        await booted.power_on()
        await booted.is_up()
        await booted.run("umount /opt && sync")
        await booted.save(to / "memory")


if __name__ == "__main__":
    # Nothing is said of what is lacking: the tests say it.
    if unavailable() is None:
        prepared()
