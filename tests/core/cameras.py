"""Devices as a test needs them: what they were ordered, what they said of it, and the plan that looks at them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from backstay.core.devices import Assignment, Device, DeviceName, Drill, PlaneState, PlaneStatus, Step, StepType
from backstay.core.observed import Observed
from backstay.core.plan import Ring
from backstay.core.planes import Release
from backstay.core.revision import Phase, RevisionState, revision_named
from tests.laws.release_world import FACTORY, START, TARGETS, World, device_of, plan_of

MODEL_ONLY = TARGETS["model"]
EVERYONE = (Ring("everyone"),)
MINUTE = timedelta(minutes=1)


def cameras(count: int, region: str = "eu", **labels: str) -> list[Device]:
    """So many devices that nobody has touched."""
    return [device_of(f"{region}-{index:04}", region, **labels) for index in range(count)]


def told(
    device: Device,
    release: Release,
    says: PlaneState | None = None,
    *,
    step_type: StepType = StepType.INSTALL,
    runs: Release | None = None,
    reason: str = "",
    number: int = 7,
    attempt: int = 1,
    drill: Drill | None = None,
    ring: str = "everyone",
    revision: str = "",
    issued: datetime = START,
    at: datetime = START,
    withdrawn: bool = False,
) -> Device:
    """A device that was ordered a release; `says` is its answer, and None that it has not begun.

    It runs the release where it confirmed it, unless `runs` says otherwise; what it ran before is its fallback.
    """
    plane = release.plane
    before = device.status(plane)
    if says is PlaneState.CONFIRMED and runs is None:
        runs = release
    status = replace(before, state=says or before.state, step=number if says else before.step, reason=reason, since=at)
    if runs is not None and runs.content != before.running:
        status = replace(
            status,
            running=runs.content,
            version=runs.version,
            fallback=before.running,
            fallback_version=before.version,
        )
    step = Step(
        number, plane, step_type, issued, issued + 5 * MINUTE, withdrawn=withdrawn, attempt=attempt, drill=drill
    )
    name = revision or revision_named(None, plan_of("model"))
    assignment = Assignment("vision", name, ring, release.version, release.content, release.artifact)
    return replace(
        device,
        step=step,
        assigned={**device.assigned, plane: assignment},
        planes={**device.planes, plane: status},
    )


def seen(
    devices: Iterable[Device], target: str = "model", rings: tuple[Ring, ...] = EVERYONE, **plan: object
) -> Observed:
    """What a decision about these devices looks at."""
    world = World(plan=plan_of(target, rings=rings, **plan))
    world.truth = {device.name: device for device in devices}
    world.crash()
    return world.observe()


def at(observed: Observed, phase: Phase, **changes: object) -> RevisionState:
    """A state of the plan's first revision."""
    revision = observed.fleet.revision
    state = RevisionState(revision, 1, revision.partition("-")[0], phase, START, ring_since=START)
    return replace(state, **changes)  # type: ignore[arg-type]


def unknown(device: Device) -> Device:
    """A device that says nothing of what it runs."""
    return replace(device, planes=dict.fromkeys(FACTORY, PlaneStatus()))


__all__ = ["START", "DeviceName", "at", "cameras", "seen", "told", "unknown"]
