"""A node that keeps starting for nothing ends in its recovery system, and comes out of it when a person says so."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstay.agent.journal import Journal
from backstay.agent.machine import Machine, Times
from backstay.agent.safety import Safety
from backstay.core.planes import Plane
from backstay.core.safe_mode import MOST_STARTS
from tests.agent.bench import Time
from tests.contracts.rauc_node import RaucNode


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RaucNode]:
    """A node with a recovery system beside its two slots."""
    made = RaucNode(tmp_path, slots=("A", "B", "R"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def started(node: RaucNode) -> Safety:
    """An agent that starts after a boot, with what all systems of the node share."""
    await node.reboot()
    machine = Machine({Plane.FIRMWARE: node.installer}, Journal(node.root / "state"), Times(Time(), "boot"))
    await machine.start()
    safety = Safety(machine, Time(), node.root / "safe-mode")
    await safety.begin()
    await safety.look(ordered=False)
    return safety


async def test_node_that_gives_up_boots_its_recovery_system_until_a_person_recovers_it(node: RaucNode) -> None:
    for _ in range(MOST_STARTS):
        safety = await started(node)
        assert (node.booted, safety.why, safety.machine.wants_reboot) == ("A", (), False)
    gave_up = await started(node)
    assert (node.booted, gave_up.machine.wants_reboot) == ("A", True)
    for _ in range(2):
        rescued = await started(node)
        assert (node.booted, rescued.machine.wants_reboot) == ("R", False)
        assert rescued.why[-1] == "the recovery system runs; `backstay recover` boots the one before"
    assert await rescued.recover(1)
    assert rescued.machine.wants_reboot
    safety = await started(node)
    assert (node.booted, safety.why, safety.machine.wants_reboot) == ("A", (), False)
