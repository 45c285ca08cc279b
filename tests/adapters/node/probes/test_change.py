"""A change on this machine, from the look before it to the answer: real probes, the verdict and the plane's machine."""

import os
from datetime import timedelta

import aiohttp
import pytest

from backstay.adapters.node.probes.registry import build, rule_for
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core import probing
from backstay.core.device import Activated, Order, Ordered, Probe, Probed, Progress, Source, Switching, Ticked, advance
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane

NEW = ContentDigest("sha256:" + "7" * 64)
WINDOW = 60.0
TOTAL = os.statvfs("/").f_blocks * os.statvfs("/").f_frsize
FULL = Probe("disk", "DiskHeadroom", (("path", "/"), ("min", str(2 * TOTAL))))
"""Wants more than there can be: a disk that was too small before, and is after."""
AGENT = Probe("agent", "AgentConnected", (("consecutive", "2"),))
HEAT = Probe("heat", "ThermalHeadroom", (("advisory", "true"),))


async def looked(probes: tuple[Probe, ...], around: Surroundings) -> list[probing.Measurement]:
    return [await build(probe, around).run() for probe in probes]


async def changed(*probes: Probe, baseline: bool, looks: int = 4) -> tuple[Progress, tuple[probing.Trial, ...]]:
    """Make the change, with or without a look before it, and look again every second until the window is over."""
    async with aiohttp.ClientSession() as session:
        around = Surroundings(session, connected=lambda: True)
        before = [one for _ in range(3) for one in await looked(probes, around)] if baseline else []
        trials = probing.begin([rule_for(probe) for probe in probes], probing.old_faults(before))
        order = Order(1, Plane.MODEL, StepType.INSTALL, NEW, "2.0.0", probes, timedelta(seconds=WINDOW))
        progress = Progress()
        for event in (Ordered(order, Source.HELD), Switching(), Activated(NEW)):
            progress = advance(progress, event, 0).progress
        for second in range(1, looks + 1):
            found = await looked(probes, around)
            since = timedelta(seconds=second)
            trials = tuple(probing.measured(trial, one, since) for trial, one in zip(trials, found, strict=True))
            progress = advance(progress, Probed((*probing.results(trials), *probing.advice(trials))), second).progress
    return advance(progress, Ticked(), WINDOW).progress, trials


async def test_change_is_undone_when_a_probe_fails_that_nobody_saw_failing_before() -> None:
    progress, _ = await changed(AGENT, FULL, baseline=False)
    assert progress.state is PlaneState.ROLLED_BACK
    assert str(progress.cause).startswith("ProbeFailed: disk: ")
    assert str(progress.cause).endswith(" wanted")


async def test_change_is_confirmed_when_a_probe_fails_as_it_did_before() -> None:
    progress, trials = await changed(AGENT, FULL, baseline=True)
    assert progress.state is PlaneState.CONFIRMED
    assert probing.failing(trials) == ("disk",)
    assert probing.told(trials[1]).startswith("baseline: failed in the same way before the change; ")


async def test_change_is_not_confirmed_before_an_old_fault_has_shown_as_often_as_before() -> None:
    progress, _ = await changed(AGENT, FULL, baseline=True, looks=2)
    assert progress.state is PlaneState.ROLLED_BACK


async def test_change_is_not_confirmed_when_all_that_is_required_fails_as_before() -> None:
    progress, _ = await changed(FULL, baseline=True)
    assert progress.state is PlaneState.ROLLED_BACK


@pytest.mark.parametrize("baseline", [True, False])
async def test_change_is_confirmed_when_only_an_advisory_probe_fails(baseline: bool) -> None:
    progress, trials = await changed(AGENT, HEAT, baseline=baseline)
    assert progress.state is PlaneState.CONFIRMED
    assert set(probing.failing(trials)) <= {"heat"}
