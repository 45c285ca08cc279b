"""The accelerator, of trees that stand for a board: no machine of ours has one.

Constructed from Rockchip's kernel, drivers/rknpu (`rknpu_debugger.c`, `rknpu_drv.c`), and what librknnrt 2.3.2 prints.
"""

from pathlib import Path

import pytest

from tests.adapters.node.probes.surroundings import measure, plant

DEVICE = "sys/class/drm/renderD129/device/uevent"
RK3566_NPU = {
    "sys/class/drm/renderD128/device/uevent": "DRIVER=panfrost\nOF_NAME=gpu\n",
    DEVICE: "DRIVER=RKNPU\nOF_NAME=npu\nOF_FULLNAME=/npu@fde40000\n",
    "sys/kernel/debug/rknpu/version": "RKNPU driver: v0.9.8\n",
    "sys/kernel/debug/rknpu/load": "NPU load:   0%\n",
    "sys/module/rknpu/version": "0.9.8\n",
}


def library(root: Path, version: str, *, before: int = 3_000_000) -> None:
    path = root / "usr/lib/librknnrt.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"librknnrt version: {version} (429f97ae6b@2025-04-09T09:09:27)\0".encode()
    path.write_bytes(b"\x7fELF" + b"\0" * before + text + b"\xff" * 1000)


async def test_npu_passes_and_tells_what_there_is(tmp_path: Path) -> None:
    library(plant(tmp_path, RK3566_NPU), "2.3.2")
    found = await measure("NpuReady", tmp_path, minDriver="0.9.6", minRuntime="2.3.0")
    assert found.passed
    assert found.detail == "/dev/dri/renderD129, driver rknpu 0.9.8, load 0%, runtime 2.3.2"


@pytest.mark.parametrize("before", [(1 << 20) - 4 - at for at in (0, 1, 18, 19, 24, 40)])
async def test_runtime_version_is_found_when_it_lies_across_two_pieces(tmp_path: Path, before: int) -> None:
    library(plant(tmp_path, RK3566_NPU), "2.3.2", before=before)
    assert (await measure("NpuReady", tmp_path)).detail.endswith("runtime 2.3.2")


@pytest.mark.parametrize("runtime", ["1.5.0", "2.3.0b0"])
async def test_npu_fails_when_the_runtime_is_too_old(tmp_path: Path, runtime: str) -> None:
    library(plant(tmp_path, RK3566_NPU), runtime)
    found = await measure("NpuReady", tmp_path, minRuntime="2.3.0")
    assert (found.passed, found.fault) == (False, "OldRuntime")
    assert f"runtime {runtime}: runtime 2.3.0 or newer wanted" in found.detail


async def test_npu_fails_when_the_driver_is_too_old(tmp_path: Path) -> None:
    plant(tmp_path, RK3566_NPU)
    assert (await measure("NpuReady", tmp_path, minDriver="0.10.0")).fault == "OldDriver"


async def test_npu_fails_when_a_version_is_wanted_and_nothing_tells_it(tmp_path: Path) -> None:
    plant(tmp_path, {DEVICE: RK3566_NPU[DEVICE]})
    assert (await measure("NpuReady", tmp_path)).passed
    assert (await measure("NpuReady", tmp_path, minDriver="0.9.0")).fault == "NoDriver"
    assert (await measure("NpuReady", tmp_path, minRuntime="2.0.0")).fault == "NoRuntime"


async def test_npu_is_found_in_procfs_and_as_a_misc_device_when_the_kernel_was_built_so(tmp_path: Path) -> None:
    plant(tmp_path, {"dev/rknpu": "", "proc/rknpu/version": "RKNPU driver: v0.8.2\n"})
    assert (await measure("NpuReady", tmp_path)).detail == "/dev/rknpu, driver rknpu 0.8.2, runtime -"


async def test_npu_fails_when_no_device_is_bound_to_the_driver(tmp_path: Path) -> None:
    plant(tmp_path, RK3566_NPU | {DEVICE: "OF_NAME=npu\n"})
    found = await measure("NpuReady", tmp_path)
    assert (found.passed, found.fault) == (False, "NoDevice")
    assert (await measure("NpuReady", tmp_path, driver="panfrost")).passed


async def test_npu_fails_on_this_machine_when_it_has_none() -> None:
    assert (await measure("NpuReady", driver="no-such-driver")).fault == "NoDevice"
