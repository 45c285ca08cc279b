"""Every probe keeps its time, raises nothing, and is refused by name where a node cannot run it."""

import asyncio
import subprocess
import sys
import threading
import time
from typing import ClassVar

import aiohttp
import pytest

from backstay.adapters.node.probes.probe import FileProbe, Finding, NodeProbe, fine
from backstay.adapters.node.probes.registry import KINDS, build, objections, rule_for
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.api.probes import ProbeKind
from backstay.core.device import Probe
from tests.adapters.node.probes.surroundings import measure, probe


class Hung(FileProbe):
    """A driver that does not answer for as long as a test wants."""

    timeout_seconds: ClassVar[float] = 0.1
    answered = threading.Event()

    def examine(self) -> Finding:
        self.answered.wait(20)
        return fine("back")


class Broken(NodeProbe):
    async def look(self) -> Finding:
        raise KeyError("camera")


async def test_probe_fails_in_its_time_and_keeps_the_loop_free_when_a_driver_hangs() -> None:
    Hung.answered.clear()
    async with aiohttp.ClientSession() as session:
        hung = Hung(probe("Hung"), Surroundings(session))
        begun, ticks = time.monotonic(), 0
        running = asyncio.create_task(hung.run())
        while not running.done():
            ticks += 1
            await asyncio.sleep(0.01)
        assert time.monotonic() - begun < 5
        assert ticks > 3
        assert (await running).fault == "NoAnswer"
        assert "an earlier look still waits" in (await hung.run()).detail
        Hung.answered.set()
        await asyncio.sleep(0.2)
        assert (await hung.run()).passed


async def test_probe_raises_nothing_when_it_breaks() -> None:
    async with aiohttp.ClientSession() as session:
        found = await Broken(probe("Broken"), Surroundings(session)).run()
    assert (found.passed, found.fault) == (False, "Broken")
    assert found.detail == "the probe itself broke: KeyError: 'camera'"


async def test_agent_passes_only_when_the_server_has_answered_since_the_change() -> None:
    assert (await measure("AgentConnected")).fault == "NotConnected"
    assert (await measure("AgentConnected", given={"connected": lambda: True})).passed


async def test_order_to_fail_is_obeyed() -> None:
    assert not (await measure("FailOnPurpose")).passed


def test_node_has_every_kind_that_a_person_may_ask_for() -> None:
    assert set(KINDS) == {kind.value for kind in ProbeKind}


async def test_order_is_refused_by_the_name_of_each_probe_that_the_node_cannot_run() -> None:
    asked = (
        Probe("agent", "AgentConnected"),
        Probe("magic", "Clairvoyance"),
        Probe("disk", "DiskHeadroom"),
        Probe("memory", "MemoryHeadroom", (("min", "lots"),)),
        Probe("heat", "ThermalHeadroom", (("margin", "-3"),)),
        Probe("trip", "ThermalHeadroom", (("trip", "Boiling"),)),
        Probe("npu", "NpuReady", (("minDriver", "newest"),)),
        Probe("replay", "SampleReplay"),
        Probe("often", "AgentConnected", (("consecutive", "0"),)),
    )
    async with aiohttp.ClientSession() as session:
        found = objections(asked, Surroundings(session))
    assert found[0].startswith("probe magic: a node has no probe Clairvoyance; it has AgentConnected, DiskHeadroom,")
    assert found[1:] == (
        "probe disk: DiskHeadroom needs min",
        "probe memory: min of MemoryHeadroom: 'lots' is not a number of bytes such as '512Mi'",
        "probe heat: margin of ThermalHeadroom: '-3' is not a number of degrees up to 60",
        "probe trip: trip of ThermalHeadroom: 'Boiling' is none of Passive, Hot, Critical",
        "probe npu: minDriver of NpuReady: newest is not valid SemVer string",
        "probe replay: SampleReplay needs minAgreement, maxLatency or both",
        "probe often: consecutive is 0, not between 1 and 20",
    )


@pytest.mark.parametrize("kind", ["AgentConnected", "SampleReplay", "FailOnPurpose"])
def test_kind_is_never_excused_by_an_old_fault_when_the_change_itself_is_asked(kind: str) -> None:
    assert not rule_for(probe(kind)).excusable


def test_other_kinds_are_excused_by_an_old_fault() -> None:
    assert rule_for(probe("DiskHeadroom")).excusable


async def test_unknown_kind_cannot_be_built() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="has no probe Clairvoyance"):
            build(probe("Clairvoyance"), Surroundings(session))


def test_probes_leave_the_agent_small() -> None:
    program = (
        "import re, sys, backstay.adapters.node.probes.registry;"
        "print(re.search(r'VmRSS:\\s+(\\d+) kB', open('/proc/self/status').read())[1],"
        "*{'kopf', 'kubernetes', 'pydantic', 'numpy'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert told[1:] == []
    assert int(told[0]) < 60_000
