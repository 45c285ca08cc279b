"""What a node measures of itself: what can be read, and nothing in the place of what cannot."""

import os
from pathlib import Path

import pytest

from backstay.agent.figures import figures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system as the kernel and a kubelet furnish it."""
    zones = {"thermal_zone0": "41000", "thermal_zone1": "63500", "thermal_zone2": "asleep"}
    files = {f"sys/class/thermal/{zone}/temp": f"{text}\n" for zone, text in zones.items()}
    files["proc/meminfo"] = "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 2048 kB\n"
    files |= {f"var/log/pods/acme_{name}_1/main/0.log": "seen\n" for name in ("old", "new")}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, time in (("old", 1000), ("new", 2000)):
        os.utime(tmp_path / f"var/log/pods/acme_{name}_1/main/0.log", (time, time))
    return tmp_path


def test_figures_are_the_hottest_the_newest_and_what_is_available(root: Path) -> None:
    found = dict(figures(root, root))
    assert found.pop("storage_free_bytes") > 0
    assert found == {
        "memory_available_bytes": 2048 * 1024,
        "temperature_celsius": 63.5,
        "last_log_timestamp_seconds": 2000,
    }


def test_figure_is_left_out_when_it_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 1 kB\n")
    assert figures(tmp_path, tmp_path / "nowhere") == {}
