"""Proving recovery before a ring passes: healthy devices go back and forward again, and one fails on purpose.

Each device walks a row of its own; a step that ends otherwise than the row says fails the rehearsal, and the rollout
stops for a person: what cannot go back now could not go back in an emergency either.

    round trip   Returning ─► Reinstalling ─► Done
    break        Returning ─► Breaking ─► Mending ─► Done
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, assert_never

from backstay.core.actions import Action, Decision
from backstay.core.alerts import blocked_alert
from backstay.core.devices import Device, Drill, PlaneState, Step, StepType, answered_well, deadline_of
from backstay.core.dispatch import Desk, dispatch, is_held
from backstay.core.failures import FailureKind, failure_of, is_undelivered
from backstay.core.fleet import Progress, running_of, version_set
from backstay.core.gates import FailedGate, ring_health
from backstay.core.observed import Observed
from backstay.core.path import NoPath, path_between
from backstay.core.reasons import Because, Reason
from backstay.core.revision import DrillStage, DrillState, RevisionState
from backstay.core.rolling_back import turn_back
from backstay.core.rolling_out import first_failure, leave_ring
from backstay.core.steps import Order, fallback_of
from backstay.core.transition import stay

MAY_BREAK: Final = "backstay.dev/may-break"
"""The label, with the value `true`, by which a device opts in to be broken on purpose."""
FAILING_PROBE: Final = "rehearsal"
"""The name of the probe that a device is told to fail."""

_AFTER_RETURN: Final = {Drill.ROUND_TRIP: DrillStage.REINSTALLING, Drill.BREAK: DrillStage.BREAKING}


class _Standing(Enum):
    """What a device's last step means to its drill."""

    IDLE = auto()
    """It has no step that is open."""
    OPEN = auto()
    DONE = auto()
    """The step ended as an order should."""
    BROKE = auto()
    """The device failed the probe that it was told to fail, and runs what it ran before."""
    WRONG = auto()


def rehearsing(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Choose devices, order each its next step, and leave the ring once all have proved themselves."""
    health = [ring_health(observed, ring, now) for ring in range(state.ring + 1)]
    if failed := first_failure(observed, state, health):
        return turn_back(observed, state, now, failed)
    if not state.drills:
        return _begin(observed, state, now)
    return _go_on(observed, state, [one.next_deadline for one in health], now)


def _go_on(observed: Observed, state: RevisionState, deadlines: list[datetime | None], now: datetime) -> Decision:
    """Let each device walk its row as far as it has come."""
    name = observed.plan.rings[state.ring].name
    drills, actions, kept_back = [], [], []
    desk = Desk(observed, now)
    for drill in state.drills:
        device = observed.fleet.get(drill.device)
        if device is None:
            return _fail(observed, state, now, drill, "it is gone")
        step = _advance(drill, device, desk)
        if isinstance(step, str):
            return _fail(observed, state, now, drill, step)
        drill, action = step  # noqa: PLW2901 - the drill as it stands now
        drills.append(drill)
        if action is not None:
            actions.append(action)
        elif drill.stage is not DrillStage.DONE and not device.in_flight:
            kept_back.append(device.name)
        if drill.stage is not DrillStage.DONE:
            deadlines.append(deadline_of(device, observed.plan.deadlines))
    state = replace(state, drills=tuple(drills))
    if all(drill.stage is DrillStage.DONE for drill in drills):
        proven = replace(state, rehearsed=(*state.rehearsed, name))
        words = f"recovery is proven in ring {name}: {_told(drills)}"
        return leave_ring(observed, proven, now, Because(Reason.RECOVERY_PROVEN, words))
    because = [Because(Reason.REHEARSING, f"ring {name} rehearses recovery: {_told(drills)}")]
    if kept_back:
        because.insert(0, Because(Reason.HELD, f"held or paused in ring {name}: {', '.join(kept_back)}"))
    return stay(observed, state, now, actions=tuple(actions), because=tuple(because), wakes=deadlines)


def _begin(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Put on record which devices rehearse, before any of them is ordered anything."""
    rules = observed.plan.rings[state.ring]
    if rules.rehearsal is None:
        return leave_ring(observed, state, now, Because(Reason.RING_PROMOTED, f"ring {rules.name} rehearses nothing"))
    able = [device for device in _confirmed(observed, state) if not _obstacle(device, observed, now)]
    breakable = [device for device in able if device.labels.get(MAY_BREAK) == "true" and device.rollback_capable]
    broken = breakable[:1] if rules.rehearsal.break_one else []
    others = [device for device in able if device not in broken][: rules.rehearsal.devices]
    if len(others) < rules.rehearsal.devices or (rules.rehearsal.break_one and not broken):
        found = f"{len(others)} of {rules.rehearsal.devices} devices can go back and forward again"
        if rules.rehearsal.break_one:
            found += f", and {len(broken)} of 1 labelled {MAY_BREAK}=true can be broken"
        words = f"ring {rules.name} cannot rehearse: {found}; a device must be reachable, free and reversible"
        blocked = Because(Reason.BLOCKED, words)
        return stay(observed, state, now, because=(blocked,), alerts=(blocked_alert(observed.plan, (blocked,)),))
    drills = (
        *(DrillState(device.name, Drill.BREAK) for device in broken),
        *(DrillState(device.name, Drill.ROUND_TRIP) for device in others),
    )
    because = Because(Reason.REHEARSING, f"ring {rules.name} rehearses recovery: {_told(drills)}")
    return stay(observed, replace(state, drills=drills), now, because=(because,), wakes=(now,))


def _confirmed(observed: Observed, state: RevisionState) -> list[Device]:
    return [device for device in observed.fleet.members(state.ring, Progress.CONFIRMED) if device.reachable]


def _obstacle(device: Device, observed: Observed, now: datetime) -> bool:
    """Whether a device cannot rehearse: it changed nothing that can go back, or a person holds it."""
    kind = observed.fleet.kind_of(device.name)
    order = _way_home(device, observed)
    if kind is None or device.revoked or order is None or isinstance(order, NoPath):
        return True
    return any(
        is_held(kind, StepType.INSTALL, plane, release.content, observed.holds, now)
        for plane, release in observed.plan.target.items()
    )


def _advance(  # noqa: PLR0911 - one answer for each stage
    drill: DrillState, device: Device, desk: Desk
) -> tuple[DrillState, Action | None] | str:
    """Where a drill stands after what its device has answered, and its next order; a text says why it has failed."""
    standing = _standing(drill, device, desk)
    if device.step is not None and standing is _Standing.WRONG:
        return _how_it_ended(device, device.step)
    if standing is _Standing.OPEN:
        return drill, None
    match drill.stage:
        case DrillStage.RETURNING:
            order = _way_home(device, desk.observed)
            if isinstance(order, NoPath):
                return f"it has no way back: {order}"
            if order is not None:
                return drill, _ordered(desk, device, order, Drill.ROUND_TRIP)
            return _advance(replace(drill, stage=_AFTER_RETURN[drill.kind]), device, desk)
        case DrillStage.BREAKING if standing is _Standing.BROKE:
            return _advance(replace(drill, stage=DrillStage.MENDING), device, desk)
        case DrillStage.BREAKING:
            return _forward(drill, device, desk, Drill.BREAK)
        case DrillStage.REINSTALLING | DrillStage.MENDING:
            return _forward(drill, device, desk, Drill.ROUND_TRIP)
        case DrillStage.DONE:
            return drill, None
        case _:
            assert_never(drill.stage)


def _forward(drill: DrillState, device: Device, desk: Desk, kind: Drill) -> tuple[DrillState, Action | None] | str:
    order = desk.next_step(device)
    if isinstance(order, NoPath):
        return f"it has no way forward again: {order}"
    if order is None:
        if drill.stage is DrillStage.BREAKING:
            return "it confirmed although it was told to fail a probe"
        return replace(drill, stage=DrillStage.DONE), None
    return drill, _ordered(desk, device, order, kind)


def _ordered(desk: Desk, device: Device, order: Order, drill: Drill) -> Action | None:
    """The order, unless a pause or a hold keeps it back for the moment; no hold keeps anything from going back."""
    kind = desk.observed.fleet.kind_of(device.name)
    if kind is None or desk.observed.plan.paused or desk.room.is_paused(device.groups):
        return None
    if is_held(kind, order.type, order.release.plane, order.release.content, desk.observed.holds, desk.now):
        return None
    ring = desk.observed.fleet.ring_of(device.name)
    name = "" if ring is None else desk.observed.plan.rings[ring].name
    return dispatch(device, order, desk.observed, name, desk.now, drill)


def _standing(drill: DrillState, device: Device, desk: Desk) -> _Standing:  # noqa: PLR0911 - a chain of rules
    step = device.step
    if step is None or step.drill is None or step.withdrawn:
        return _Standing.IDLE
    if device.in_flight:
        deadline = deadline_of(device, desk.observed.plan.deadlines)
        return _Standing.WRONG if deadline is not None and deadline <= desk.now else _Standing.OPEN
    if answered_well(device):
        if step.drill is Drill.BREAK and drill.stage is DrillStage.BREAKING:
            return _Standing.WRONG
        return _Standing.DONE
    if is_undelivered(device) and step.attempt < desk.observed.plan.retries.attempts:
        return _Standing.DONE
    if step.drill is not Drill.BREAK:
        return _Standing.WRONG
    if drill.stage is not DrillStage.BREAKING:
        return _Standing.DONE
    return _Standing.BROKE if _fell_back_as_told(device, step) else _Standing.WRONG


def _fell_back_as_told(device: Device, step: Step) -> bool:
    status, assignment = device.status(step.plane), device.assigned.get(step.plane)
    return (
        status.state is PlaneState.ROLLED_BACK
        and failure_of(device) is FailureKind.FAILED_PROBE
        and assignment is not None
        and not device.runs(step.plane, assignment.content)
    )


def _how_it_ended(device: Device, step: Step) -> str:
    status = device.status(step.plane)
    what = f"step {step.number} ({step.type.lower()} of its {step.plane})"
    if not device.answered:
        return f"it fell silent during {what}"
    if step.drill is Drill.BREAK and answered_well(device):
        return f"it confirmed {what}, although it was told to fail a probe"
    return f"{what} ended {status.state} {status.reason}".rstrip()


def _way_home(device: Device, observed: Observed) -> Order | NoPath | None:
    """The next step back to what a device ran before this revision; None when it is there."""
    plan = observed.plan
    kind = observed.fleet.kind_of(device.name)
    changed = () if kind is None else kind.changed
    planes = [
        plane
        for plane in changed
        if plane in plan.target and plane not in plan.irreversible and device.runs(plane, plan.target[plane].content)
    ]
    earlier = {plane: release for plane in planes if (release := fallback_of(device, plane, observed.known))}
    if len(earlier) < len(planes):
        return NoPath(())
    path = path_between(version_set(running_of(device), observed.known), earlier, plan.rollback.order)
    if isinstance(path, NoPath):
        return path
    return Order(StepType.RETURN, path.steps[0]) if path.steps else None


def _fail(observed: Observed, state: RevisionState, now: datetime, drill: DrillState, why: str) -> Decision:
    ring = observed.plan.rings[state.ring].name
    words = f"ring {ring} has not proved that recovery works: {drill.device} ({drill.kind}): {why}"
    return turn_back(observed, state, now, FailedGate(Because(Reason.REHEARSAL_FAILED, words), ()))


def _told(drills: Iterable[DrillState]) -> str:
    return ", ".join(f"{drill.device} {_WORDS[drill.kind, drill.stage]}" for drill in drills)


_WORDS: Final[Mapping[tuple[Drill, DrillStage], str]] = MappingProxyType(
    {
        **{(kind, DrillStage.RETURNING): "goes back" for kind in Drill},
        (Drill.ROUND_TRIP, DrillStage.REINSTALLING): "goes forward again",
        (Drill.ROUND_TRIP, DrillStage.DONE): "went back and forward again",
        (Drill.BREAK, DrillStage.BREAKING): "is told to fail",
        (Drill.BREAK, DrillStage.MENDING): "fell back alone, and goes forward again",
        (Drill.BREAK, DrillStage.DONE): "went back, failed as told, and fell back alone",
    }
)
