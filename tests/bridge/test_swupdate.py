"""A client that we did not write: Debian's swupdate, as its users run it, against the bridge's real paths.

It installs, waits for the reboot that it thinks is due, and says after that how it went, as it is told by `-c`.
"""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from backstay.api import EdgeDevice
from backstay.bridge.tokens import target_token
from tests.bridge.conftest import KEY, World
from tests.bridge.swu import BOARD, Signer
from tests.guides import blocks

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "connect-a-stock-client.md").read_text()
COMMANDS = "\n".join(blocks(GUIDE, "sh"))
"""The guide's own commands: the token, and the client."""
PAYLOAD = b"weights of a model " * 5000
SAYS_SUCCESS = "-c 2"


async def until(holds: Callable[[], object], log: Path, seconds: float = 30) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"it did not come to that:\n{_end_of(log)}") from error


def _end_of(log: Path) -> str:
    return log.read_text()[-5000:]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@asynccontextmanager
async def powered(world: World, signer: Signer, directory: Path, more: str = "") -> AsyncIterator[Path]:
    """The device is on: swupdate asks the bridge once a second; gives its log."""
    assert shutil.which("swupdate") is not None, "swupdate is missing: run `make setup`"
    own, log = directory / "device", directory / "swupdate.log"
    own.mkdir(exist_ok=True)
    settings = {
        "BOARD": BOARD,
        "CERTIFICATE": str(signer.certificate),
        "TENANT": "acme",
        "BRIDGE": f"http://127.0.0.1:{world.client.port}",
        "DEVICE": "cam-1",
        "KEY": KEY.decode(),
        "MORE": more,
    }
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-euc", COMMANDS),
            env=settings | {"TMPDIR": str(own), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        # Its own children too: they are of the session that was made for it.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def order(world: World, number: int, image: bytes) -> None:
    """Order the device an image that the registry has."""
    world.shelf.payload = image
    world.order(number, model={"content": f"sha256:{hashlib.sha256(image).hexdigest()}"})


def state(world: World) -> tuple[object, object]:
    return world.model().get("step"), world.model().get("state")


def test_device_of_the_guide_is_valid_and_its_token_is_the_bridges() -> None:
    (written,) = blocks(GUIDE, "yaml")
    device = EdgeDevice.from_document(yaml.safe_load(written))
    asked = f"{COMMANDS.splitlines()[0]}\necho $TOKEN"
    made = subprocess.run(["sh", "-euc", asked], env={"KEY": KEY.decode()}, capture_output=True, text=True)
    assert made.stdout.strip() == target_token(KEY, device.metadata.name, 1), made.stderr


async def test_swupdate_installs_a_step_and_ends_unverified_after_its_reboot(
    world: World, signer: Signer, tmp_path: Path
) -> None:
    installed = tmp_path / "installed.bin"
    async with powered(world, signer, tmp_path) as log:
        order(world, 1, signer.image("7.2.0", PAYLOAD, installed))
        await until(lambda: "executing post-update actions" in log.read_text(), log)
        assert installed.read_bytes() == PAYLOAD
        assert state(world) == (1, "Downloading"), "it has begun, and has not said how it ended"
    async with powered(world, signer, tmp_path, SAYS_SUCCESS) as log:
        await until(lambda: state(world) == (1, "InstalledUnverified"), log)
        assert world.model()["reason"] == "the device does not report what it runs"
        await asyncio.sleep(2)
        assert "deploymentBase" not in await world.links(), "it is not asked again"


async def test_swupdate_refuses_an_image_that_a_stranger_signed_and_the_step_has_failed(
    world: World, signer: Signer, tmp_path: Path
) -> None:
    (tmp_path / "stranger").mkdir()
    image = Signer(tmp_path / "stranger").image("7.2.0", PAYLOAD, tmp_path / "installed.bin")
    async with powered(world, signer, tmp_path) as log:
        order(world, 1, image)
        await until(lambda: state(world) == (1, "Failed"), log)
    assert world.model()["reason"].startswith("Rejected: ")
    assert not (tmp_path / "installed.bin").exists()


async def test_swupdate_gives_up_a_step_that_was_replaced_and_takes_the_next_one(
    world: World, signer: Signer, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.bin", tmp_path / "second.bin"
    async with powered(world, signer, tmp_path) as log:
        order(world, 1, signer.image("7.2.0", PAYLOAD, first))
        await until(lambda: "executing post-update actions" in log.read_text(), log)
        order(world, 2, signer.image("7.3.0", PAYLOAD[::-1], second))
        await until(lambda: state(world) == (1, "Failed") or world.model().get("step") == 2, log)
        await until(second.exists, log)
        await until(lambda: log.read_text().count("executing post-update actions") == 2, log)
    cancelled = [write["planes"]["model"] for write in world.api.writes if write.get("planes", {}).get("model")]
    assert [(one["step"], one["state"], one["reason"]) for one in cancelled if one["state"] != "Downloading"] == [
        (1, "Failed", "Canceled")
    ]
    assert second.read_bytes() == PAYLOAD[::-1]
    assert state(world) == (2, "Downloading")
