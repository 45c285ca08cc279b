"""Storage and memory of this machine, and temperatures of a tree that stands for a board."""

import os
import re
from pathlib import Path

import pytest

from tests.adapters.node.probes.surroundings import measure, plant

# Constructed: names and units of Linux, Documentation/driver-api/thermal/sysfs-api.rst; zones and trip points of
# arch/arm64/boot/dts/rockchip/rk356x.dtsi (cpu-thermal: passive 70 and 75 °C, critical 95 °C; gpu-thermal alike).
RK3566_THERMAL = {
    f"sys/class/thermal/thermal_zone{number}/{name}": f"{value}\n"
    for number, zone, temperature in ((0, "cpu-thermal", 58125), (1, "gpu-thermal", 56875))
    for name, value in {
        "type": zone,
        "temp": temperature,
        "mode": "enabled",
        "trip_point_0_type": "passive",
        "trip_point_0_temp": 70000,
        "trip_point_0_hyst": 2000,
        "trip_point_1_type": "passive",
        "trip_point_1_temp": 75000,
        "trip_point_1_hyst": 2000,
        "trip_point_2_type": "critical",
        "trip_point_2_temp": 95000,
        "trip_point_2_hyst": 2000,
    }.items()
}
CPU = "sys/class/thermal/thermal_zone0"


async def test_disk_passes_when_this_machine_has_room() -> None:
    found = await measure("DiskHeadroom", path="/", min="1Mi")
    assert found.passed
    assert re.fullmatch(r"[\d.]+ [GM]iB free at /, at least 1\.0 MiB wanted", found.detail)


async def test_disk_fails_by_the_figures_of_the_file_system_when_more_is_wanted() -> None:
    disk = os.statvfs("/")
    found = await measure("DiskHeadroom", path="/", min=str(disk.f_blocks * disk.f_frsize * 2))
    assert (found.passed, found.fault) == (False, "BelowMinimum")
    assert 0.4 < found.shortfall <= 1


async def test_disk_fails_and_names_the_folder_when_it_is_not_there() -> None:
    found = await measure("DiskHeadroom", path="/no/such/folder", min="1Mi")
    assert found.fault == "FileNotFoundError"
    assert "/no/such/folder" in found.detail


async def test_memory_of_this_machine_is_what_its_kernel_says() -> None:
    assert (await measure("MemoryHeadroom", min="1Mi")).passed
    found = await measure("MemoryHeadroom", min="900Ti")
    assert (found.passed, found.fault) == (False, "BelowMinimum")
    assert found.shortfall == pytest.approx(1, abs=0.01)


async def test_memory_fails_when_the_kernel_does_not_tell(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/meminfo": "MemTotal:        2048000 kB\n"})
    assert (await measure("MemoryHeadroom", tmp_path, min="1Mi")).fault == "NotTold"


async def test_temperature_passes_when_the_board_is_below_its_critical_points(tmp_path: Path) -> None:
    found = await measure("ThermalHeadroom", plant(tmp_path, RK3566_THERMAL))
    assert found.passed
    assert found.detail == (
        "thermal_zone0 (cpu-thermal) at 58.1 °C, 36.9 °C below its critical 95.0 °C, at least 5.0 °C below wanted"
    )


async def test_temperature_fails_when_a_zone_is_too_close_to_the_point_that_is_asked_for(tmp_path: Path) -> None:
    plant(tmp_path, RK3566_THERMAL | {f"{CPU}/temp": "68000\n"})
    assert (await measure("ThermalHeadroom", tmp_path, trip="Critical", margin="20")).passed
    found = await measure("ThermalHeadroom", tmp_path, trip="Passive")
    assert (found.passed, found.fault) == (False, "TooHot")
    assert "2.0 °C below its passive 70.0 °C" in found.detail


async def test_temperature_fails_when_a_zone_is_above_its_point(tmp_path: Path) -> None:
    plant(tmp_path, RK3566_THERMAL | {f"{CPU}/temp": "96500\n"})
    found = await measure("ThermalHeadroom", tmp_path, margin="0")
    assert "1.5 °C above its critical 95.0 °C" in found.detail
    assert found.shortfall == pytest.approx(1.5 / 95)


async def test_temperature_leaves_out_a_zone_that_the_kernel_does_not_watch(tmp_path: Path) -> None:
    plant(tmp_path, RK3566_THERMAL | {f"{CPU}/temp": "99000\n", f"{CPU}/mode": "disabled\n"})
    assert (await measure("ThermalHeadroom", tmp_path)).detail.startswith("thermal_zone1 (gpu-thermal)")


async def test_temperature_fails_when_nothing_could_be_judged(tmp_path: Path) -> None:
    assert (await measure("ThermalHeadroom", tmp_path)).fault == "NoTripPoint"
    without = {name: text for name, text in RK3566_THERMAL.items() if "trip_point_2" not in name}
    found = await measure("ThermalHeadroom", plant(tmp_path, without), trip="Hot")
    assert found.detail == "none of 2 thermal zones has a trip point that is hot or critical"
