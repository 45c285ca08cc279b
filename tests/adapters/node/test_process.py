"""Only a program that this machine can start is taken, and what is behind the link is what a supervisor runs."""

import asyncio
import shutil
import sys
import zipapp
from pathlib import Path

import pytest

from backstay.adapters.node.process import ProcessInstaller
from backstay.adapters.node.supervision import Supervisor
from backstay.core.device import Reason
from backstay.core.planes import Plane
from backstay.ports.installer import CannotInstall
from tests.contracts.installers import Delivery, delivery


def deliver(directory: Path, payload: bytes, version: str = "1.0.0", number: int = 1) -> Delivery:
    path = directory / f"download-{version}"
    path.write_bytes(payload)
    return delivery(path, version, number)


async def install(installer: ProcessInstaller, one: Delivery) -> None:
    await installer.stage(one.order, one.artifact, one.payload)
    await installer.switch(one.order)


def own_program() -> bytes:
    return Path(shutil.which("true") or "").read_bytes()


def elf_for(machine: int) -> bytes:
    """This machine's own `true`, but for another processor."""
    program = bytearray(own_program())
    program[18:20] = machine.to_bytes(2, "little")
    return bytes(program)


@pytest.mark.parametrize(
    ("payload", "named"),
    [(b"", "no program"), (b"\x7fELF", "no program"), (b"MZ", "no program"), (elf_for(0xF3), "243")],
)
async def test_payload_is_refused_when_this_machine_cannot_start_it(tmp_path: Path, payload: bytes, named: str) -> None:
    one = deliver(tmp_path, payload)
    with pytest.raises(CannotInstall, match=named) as refusal:
        await ProcessInstaller(tmp_path / "state", Plane.FIRMWARE).stage(one.order, one.artifact, one.payload)
    assert refusal.value.cause.reason is Reason.REJECTED


async def test_program_of_this_machine_can_be_started_by_its_link(tmp_path: Path) -> None:
    installer = ProcessInstaller(tmp_path / "state", Plane.FIRMWARE)
    await install(installer, deliver(tmp_path, own_program()))
    process = await asyncio.create_subprocess_exec(installer.link)
    assert await process.wait() == 0


async def test_supervisor_runs_what_was_installed_and_then_what_it_fell_back_to(tmp_path: Path) -> None:
    installer, said = ProcessInstaller(tmp_path / "state", Plane.FIRMWARE), tmp_path / "said"
    await install(installer, deliver(tmp_path, zipapp_that_says("one", said)))
    supervisor = asyncio.create_task(Supervisor(installer.link).run())
    try:
        await until_said(said, "one")
        one = deliver(tmp_path, zipapp_that_says("one", said))
        await installer.confirm(one.order)
        await install(installer, deliver(tmp_path, zipapp_that_says("two", said), "2.0.0", 2))
        await until_said(said, "two")
        await installer.fall_back()
        await until_said(said, "one")
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)


def zipapp_that_says(word: str, said: Path) -> bytes:
    """A Python application in one file, which says a word and stays."""
    source = said.with_name(f"source-{word}")
    source.mkdir(exist_ok=True)
    (source / "__main__.py").write_text(
        f"import pathlib, time\npathlib.Path({str(said)!r}).write_text({word!r})\ntime.sleep(1000)\n", encoding="utf-8"
    )
    archive = said.with_name(f"{word}.pyz")
    if not archive.exists():
        zipapp.create_archive(source, archive, interpreter=sys.executable)
    return archive.read_bytes()


async def until_said(said: Path, word: str) -> None:
    async with asyncio.timeout(20):
        while not says(said, word):
            await asyncio.sleep(0.05)


def says(said: Path, word: str) -> bool:
    return said.exists() and said.read_text(encoding="utf-8") == word
