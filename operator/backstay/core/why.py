"""Why a device or a plan is where it is, in sentences for the person who asks."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from backstay.core.actions import Decision
from backstay.core.devices import Device, DeviceName, StepType, deadline_of
from backstay.core.dispatch import can_undo, holds_on
from backstay.core.failures import failure_of, words_of
from backstay.core.fleet import Kind, Progress
from backstay.core.observed import Observed
from backstay.core.path import NoPath
from backstay.core.planes import Plane
from backstay.core.reasons import Reason
from backstay.core.revision import Phase, RevisionState
from backstay.core.room import Room
from backstay.core.steps import Order, search_once
from backstay.core.windows import next_opening

NEXT: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.NO_PATH: "change the versions, or what they require of each other",
        Reason.NO_WAY_BACK: "choose versions that can go back, or mark a plane `irreversible: true`",
        Reason.FROZEN: "ask for another version, or delete the hold if it is wrong",
        Reason.CONFLICT: "take the plane out of one of the two plans",
        Reason.UNRESOLVED_ARTIFACT: "push the artifact, or name another",
        Reason.EMPTY_RING: "widen the ring, lower what its gate needs, or take it out",
        Reason.WAITING_FOR_APPROVAL: "look at the rings so far, and approve with the command above",
        Reason.PAUSED: "set spec.paused to false to go on",
        Reason.HELD: "delete the hold to let these devices follow",
        Reason.BLOCKED: "see which devices are missing: kubectl get edgedevices",
        Reason.BUDGET_SPENT: "look at the silent devices; once they answer or are deleted, the ring goes on",
        Reason.CANNOT_FALL_BACK: "enable rollback in their bootloader, or leave them out of the plan's groups",
        Reason.CATCH_UP_STOPPED: "look at the devices that failed, then ask for `retry`",
        Reason.GROUP_BUSY: "wait, or raise maxUnavailable of the group",
        Reason.NO_DATA: "see whether the devices report, and whether the query fits them",
        Reason.PROVIDER_ERROR: "see whether Prometheus answers, and whether the query is right",
        Reason.INCONCLUSIVE: "wait for more devices, or compare over more of them",
        Reason.UNDELIVERED: "see whether the registry and the gateways work, then ask for `retry`",
        Reason.IRREVERSIBLE: "mend the version and release it: this one cannot be taken back",
        Reason.UNCLEAR_TOO_LONG: "see why the signal says nothing, then ask for `resume`",
        Reason.REHEARSAL_FAILED: "see why the device could not go back, then ask for `resume` to rehearse again",
        Reason.ROLLED_BACK: "mend the version; it ships again once its hold is deleted",
        Reason.UNRESOLVED: "look at the devices, and at what else has changed",
        Reason.STEP_FAILED: "ask for `rollback`, or for `resume` if the failures do not matter",
        Reason.TOO_FEW_CONFIRMED: "ask for `rollback`, or for `resume` if the failures do not matter",
        Reason.SIGNAL_FAILED: "ask for `rollback`, or for `resume` if the signal was wrong",
    }
)
"""What a person does next about a reason; reasons that need nobody are left out."""


def explain_plan(observed: Observed, decision: Decision, now: datetime) -> Iterator[str]:
    """Say where a plan stands, why, and what a person may do about it."""
    state, plan = observed.state or decision.state, observed.plan
    ring = f", ring {plan.rings[state.ring].name}" if state.phase in _OF_A_RING else ""
    plane = f" {state.plane}" if state.plane and state.phase in {Phase.ROLLING_BACK, Phase.VERIFYING} else ""
    yield f"plan {plan.name}: revision {state.revision} is {state.phase}{plane}{ring}, for {_span(state.since, now)}"
    for because in decision.because:
        yield f"  because: {because.message}"
        if (following := NEXT.get(because.reason)) is not None:
            yield f"  next:    {following}"
    for report in decision.rings:
        counts = report.counts
        failed = counts.failed + report.timed_out
        yield (
            f"  ring {report.name}: {counts.confirmed} of {counts.target} confirmed, {counts.in_flight} changing,"
            f" {failed} failed, {counts.offline} offline"
        )
    for verdict in decision.verdicts or state.evidence:
        yield f"  signal {verdict.signal}: {verdict.result}: {verdict.message} ({verdict.at:%H:%M:%S} UTC)"
    for hold in sorted(observed.holds, key=lambda hold: hold.name):
        if hold.is_in_force(now):
            yield f"  hold {hold.name}: {hold.reason or 'no reason given'}"


_OF_A_RING: Final = frozenset({Phase.ROLLING, Phase.SOAKING, Phase.REHEARSING})


def explain_device(observed: Observed, name: DeviceName, now: datetime) -> Iterator[str]:
    """Say what a device runs, where it stands in a plan, and what stops its next step."""
    plan, fleet = observed.plan, observed.fleet
    fleet.cover(tuple(hold for hold in observed.holds if hold.is_in_force(now)))
    device, kind = fleet.get(name), fleet.kind_of(name)
    if device is None or kind is None:
        yield f"plan {plan.name} has nothing to do with {name}: none of its groups selects the device"
        return
    yield f"plan {plan.name}: {name} is {_PROGRESS[kind.progress]}"
    yield from _running(device)
    yield _ring_words(observed, kind)
    yield from _step_words(observed, device, kind, now)
    yield from (f"  {words}" for words in _obstacles(observed, device, kind, now))


_PROGRESS: Final[Mapping[Progress, str]] = MappingProxyType(
    {
        Progress.UNTOUCHED: "not changed by this revision",
        Progress.IN_FLIGHT: "changing now",
        Progress.UNDER_WAY: "between two planes",
        Progress.RETRYING: "to be ordered again",
        Progress.CONFIRMED: "confirmed: it runs what the plan asks for",
        Progress.FAILED: "failed",
        Progress.UNVERIFIED: "installed, but cannot prove what it runs",
        Progress.DRILLED: "rehearsing recovery",
    }
)


def _running(device: Device) -> Iterator[str]:
    for plane in Plane:
        status = device.status(plane)
        if status.running is not None:
            kept = (
                f", keeps {status.fallback_version or 'an unnamed version'}" if status.fallback else ", keeps nothing"
            )
            yield f"  {plane}: runs {status.version or 'an unnamed version'}{kept}"


def _ring_words(observed: Observed, kind: Kind) -> str:
    if kind.ring is None:
        return "  no ring of the plan takes it, so it keeps what it runs"
    rules, state = observed.plan.rings[kind.ring], observed.state
    how = "by its labels" if rules.selector is not None else "by its rank among the plan's devices"
    place = f"  it belongs to ring {rules.name} ({kind.ring + 1} of {len(observed.plan.rings)}), {how}"
    if state is None or state.phase is Phase.PENDING:
        return f"{place}; no ring has started yet"
    is_open = kind.ring <= state.ring or state.phase in {Phase.STABILIZING, Phase.SUCCEEDED}
    return (
        f"{place}, which has started"
        if is_open
        else f"{place}; the rollout has only reached {_reached(observed, state)}"
    )


def _reached(observed: Observed, state: RevisionState) -> str:
    return f"ring {observed.plan.rings[state.ring].name}"


def _step_words(observed: Observed, device: Device, kind: Kind, now: datetime) -> Iterator[str]:
    step = device.step
    if step is None:
        return
    what = f"step {step.number}, to {step.type.lower()} its {step.plane}"
    if device.in_flight:
        deadline = deadline_of(device, observed.plan.deadlines)
        begun = "it has begun" if device.begun else "it has not begun"
        if deadline is not None and deadline <= now:
            yield f"  {what}: {begun}, and has been silent past its deadline for {_span(deadline, now)}"
        elif deadline is not None:
            yield f"  {what}: {begun}, and has another {_span(now, deadline)}"
    elif kind.progress in {Progress.FAILED, Progress.RETRYING}:
        failure = failure_of(device, observed.plan.resource_probes)
        yield f"  {what}, failed ({failure}): {words_of(device, failure)}"


def _obstacles(observed: Observed, device: Device, kind: Kind, now: datetime) -> Iterator[str]:
    """What stops the next step; nothing where there is none to make."""
    if device.safe:
        yield "it is in safe mode, so it counts as offline; `backstay recover` ends that"
    elif not device.reachable:
        yield "it is not reachable; it follows through its ring when it is back"
    if device.revoked:
        yield "it is revoked, pinned or in safe mode, so it is given no orders"
    order = search_once(observed, now)(device)
    if order is None or kind.progress is Progress.CONFIRMED:
        yield "there is no step left to make"
        return
    if isinstance(order, NoPath):
        yield f"it has no safe order of changes: {order}"
        return
    yield f"next it would {order.type.lower()} {order.release}"
    yield from _stopped(observed, kind, order, now)


def _stopped(observed: Observed, kind: Kind, order: Order, now: datetime) -> Iterator[str]:
    room = Room(observed.groups, now)
    if not can_undo(kind, order, observed):
        yield "it could not fall back from that by itself, so it is not ordered"
    for hold in holds_on(kind, order.type, order.release.plane, order.release.content, observed.holds, now):
        yield f"hold {hold.name} stops it: {hold.reason or 'no reason given'}"
    if order.type is StepType.INSTALL and observed.plan.paused:
        yield "the plan is paused"
    if room.is_paused(kind.groups):
        yield "one of its groups is paused"
    windows = () if kind.ring is None else observed.plan.rings[kind.ring].windows
    opens = [at for at in (room.opens_at(kind.groups), next_opening(windows, now)) if at is not None]
    if opens:
        yield f"its window opens at {max(opens):%Y-%m-%d %H:%M} UTC"
    if (group := room.full(kind.groups)) is not None:
        yield f"maxUnavailable of group {group} is reached"


def _span(since: datetime, until: datetime) -> str:
    seconds = max(0, int((until - since).total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
