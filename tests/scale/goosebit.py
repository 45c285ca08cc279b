"""goosebit, the DDI server in Python that people use, as its documentation says, in an environment of its own.

It is as fast here as its settings let it be: no authentication of devices, no line of log for a request, and devices
that are known and have nothing to do.
"""

import asyncio
import hashlib
import json
import sys
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from backstay.sandbox.command import run_watched
from backstay.sandbox.progress import Progress, report_to_terminal
from tests.scale.serving import OUT, ROOT, Json, Rate, Server, free_port, rate, running, started_at

LOCK: Final = Path(__file__).with_name("requirements-goosebit.lock")
ENVIRONMENT: Final = ROOT / OUT / "goosebit"
ATTRIBUTES: Final = {"hw_boardname": "esp32", "hw_revision": "1.0", "sw_version": "1.0.0"}

# Its migrations come with it, and the tool that applies them wants to be told so in a file.
MIGRATIONS: Final = """
[tool.aerich]
tortoise_orm = "goosebit.db.config.TORTOISE_CONF"
location = "{package}/db/migrations"
src_folder = "./."
"""


def install() -> Path:
    """The directory of its programs, after what is pinned has been installed where it is not."""
    stamp, key = ENVIRONMENT / "pinned", hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    programs = ENVIRONMENT / "bin"
    if stamp.exists() and stamp.read_text() == key:
        return programs
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = (str(programs / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input")
    progress = Progress(report_to_terminal, "installing goosebit to compare with")
    run_watched((*pip, "--require-hashes", "-r", str(LOCK)), ENVIRONMENT / "pip.log", progress)
    stamp.write_text(key)
    return programs


@asynccontextmanager
async def goosebit(directory: Path) -> AsyncIterator[Server]:
    """Serve with a new SQLite database in a directory."""
    programs = await asyncio.to_thread(install)
    environment = {
        "GOOSEBIT_DB_URI": f"sqlite:///{directory / 'goosebit.sqlite3'}",
        "GOOSEBIT_ARTIFACTS_DIR": str(directory / "artifacts"),
        "GOOSEBIT_LOGGING": '{"version": 1, "root": {"level": "ERROR"}}',
        "GOOSEBIT_TRACK_DEVICE_IP": "false",
    }
    migrations = directory / "aerich.toml"
    package = next(ENVIRONMENT.glob("lib/python*/site-packages/goosebit"))
    migrations.write_text(MIGRATIONS.format(package=package))
    async with running(str(programs / "aerich"), "-c", str(migrations), "upgrade", **environment) as process:
        if await process.wait():
            raise AssertionError(f"goosebit's database could not be made: see {OUT / 'server.log'}")
    port = free_port()
    # Its own `python -m goosebit` listens on every address, and is this otherwise.
    serve = ("uvicorn", "goosebit:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log")
    async with started_at(port, str(programs / "python"), "-m", *serve, **environment) as server:
        yield server


async def polls(server: Server, devices: int, rounds: int) -> Rate:
    """Register devices, and poll as each of them with nothing to do."""
    paths = [f"/DEFAULT/controller/v1/dev-{index:05}" for index in range(devices)]
    registered: list[Json] = [
        {"method": "PUT", "path": f"{path}/configData", "body": json.dumps({"data": ATTRIBUTES})} for path in paths
    ]
    # One after the other: its first registrations at once trip over each other.
    await rate("goosebit, registrations", server, devices, registered, 200, connections=1)
    return await rate(
        "goosebit, a poll, nothing to do",
        server,
        devices,
        [{"method": "GET", "path": path} for path in paths],
        200,
        rounds,
    )
