"""A real Prometheus that scrapes nothing and remembers a past that a test makes up."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backstay.sandbox.ports import free_ports
from backstay.sandbox.process import Child


@contextmanager
def remembering(directory: Path, past: str) -> Iterator[str]:
    """Its URL; `past` is OpenMetrics text, in which a metric's samples stand together and have their times."""
    (directory / "past").write_text(past)
    (directory / "prometheus.yaml").write_text("{}")
    made = ("promtool", "tsdb", "create-blocks-from", "openmetrics", directory / "past", directory / "data")
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    url = f"http://127.0.0.1:{free_ports().prometheus}"
    command = (
        "prometheus",
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=warn",
    )
    child = Child("prometheus", command, directory / "log", environment=os.environ)
    child.start()
    try:
        _wait_for(url, child)
        yield url
    finally:
        child.kill()


def _wait_for(url: str, child: Child) -> None:
    deadline = time.monotonic() + 20
    while True:
        child.check()
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, child.failure("is not ready")
            time.sleep(0.05)
