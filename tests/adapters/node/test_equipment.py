"""What a node has, read from a tree of files that stands for one."""

from functools import partial
from pathlib import Path

from backstay.adapters.node.equipment import equipment
from backstay.core.needs import Equipment
from tests.adapters.node.probes.surroundings import plant


def at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def test_equipment_is_read_from_device_tree_driver_and_library(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/compatible": "radxa,rock3c\0rockchip,rk3566\0",
        "sys/module/rknpu/version": "0.9.8\n",
        "usr/lib/librknnrt.so": "\x7fELF librknnrt version: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)",
    }
    found = equipment(partial(at, plant(tmp_path, files)), "pod")
    assert found == Equipment(frozenset({"rock3c", "rk3566"}), "0.9.8", "2.3.2", "pod")


def test_equipment_is_unknown_when_nothing_tells_it(tmp_path: Path) -> None:
    assert equipment(partial(at, tmp_path), None) == Equipment()
