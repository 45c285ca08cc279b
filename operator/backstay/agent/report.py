"""The status that the node's EdgeDevice should have, by what the node finds on itself.

What runs is read from the storage, never from an order. How far a download or a trial has come is not written: a step
is begun, and then it is over.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from backstay.agent.journal import Entry
from backstay.agent.machine import Machine
from backstay.agent.mandate import Mandate
from backstay.api.device_readiness import with_readiness
from backstay.api.device_status import REACHABLE, Condition, Status
from backstay.core.device import ProbeResult, Reason, shortened
from backstay.core.devices import Mode, PlaneState, PlaneStatus
from backstay.core.planes import Plane, Release
from backstay.ports.installer import Storage

AGENT: Final = "backstay-agent/0.1.0"
LONGEST_REASON: Final = 256
"""As the API takes it: a reason that is too long would keep the whole answer from being written."""
REPORTS: Final = "the agent of the node reports"
GIVEN_UP: Final = f"{Reason.CANCELED}: it was replaced before the node took it"


def status_of(
    machine: Machine,
    mandate: Mandate,
    health: tuple[ProbeResult, ...],
    now: datetime,
    *,
    heard: bool,
    safe: tuple[str, ...] = (),
) -> Status:
    """The whole status; what was written before and is still so keeps its times.

    Only an agent whose sign of life is `heard` says that it is reachable: else the operator would take it back.
    In safe mode, `safe` says why.
    """
    found = mandate.status
    for plane in sorted({*machine.planes, *machine.ordered}):
        found = found.with_plane(plane, plane_status(plane, machine.entry(plane), machine.storage(plane), mandate, now))
    fails = [result for result in health if not result.passed]
    failing = tuple(sorted(result.name for result in fails if not result.advisory))
    found = replace(
        found,
        agent=AGENT,
        health="Unknown" if not health else "Degraded" if failing else "Healthy",
        failing=failing,
        advisory=tuple(sorted(result.name for result in fails if result.advisory)),
        rollback_capable=True,
        mode=Mode.SAFE if safe else Mode.NORMAL,
        recovered=machine.notebook.memory.recovered,
    )
    if heard:
        reachable = Condition(holds=True, reason="AgentRuns", message=REPORTS, since=now, generation=mandate.generation)
        found = found.with_condition(REACHABLE, reachable)
    return with_readiness(found, mandate.device, mandate.generation, now, safe="; ".join(safe))


def plane_status(plane: Plane, entry: Entry, storage: Storage, mandate: Mandate, now: datetime) -> PlaneStatus:
    """One plane: what it holds, and where its last step stands."""
    progress, before = entry.progress, mandate.status.plane(plane)
    held = PlaneStatus(
        running=storage.running.content if storage.running else None,
        version=_version(plane, storage.running, mandate),
        fallback=storage.fallback.content if storage.fallback else None,
        fallback_version=_version(plane, storage.fallback, mandate),
    )
    order = progress.order
    if order is None or order.number < before.step:
        step = mandate.step
        if before.step and not before.state.is_answer and (step is None or step.number != before.step):
            return replace(held, state=PlaneState.FAILED, step=before.step, reason=GIVEN_UP, since=now)
        # Begun and not taken yet, or of a node whose disk was replaced: what is written of steps stands.
        return replace(held, state=before.state, step=before.step, reason=before.reason, since=before.since)
    answered = progress.state.is_answer
    state = progress.state if answered else PlaneState.DOWNLOADING
    same = (before.step, before.state) == (order.number, state)
    return replace(
        held,
        state=state,
        step=order.number,
        reason=shortened(str(progress.cause), LONGEST_REASON) if answered and progress.cause else "",
        since=before.since if same else entry.since,
    )


def _version(plane: Plane, release: Release | None, mandate: Mandate) -> str:
    if release is None:
        return ""
    return mandate.version_of(plane, release.content) or release.version
