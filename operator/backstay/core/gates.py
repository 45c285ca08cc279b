"""Gates: what a ring's devices and signals say about going on. A gate fails closed.

Each policy looks at one thing; whatever is neither a pass nor a failure is a wait with its reason.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from types import MappingProxyType
from typing import Final, assert_never

from backstay.core.device import Reason as DeviceReason
from backstay.core.devices import Device, deadline_of
from backstay.core.fleet import Progress, RingCounts
from backstay.core.observed import Observed
from backstay.core.plan import Plan
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import RevisionState, Tally
from backstay.core.signals import Result, Verdict


@dataclass(frozen=True, slots=True)
class Passed:
    """Go on."""

    because: Because


@dataclass(frozen=True, slots=True)
class Waiting:
    """Neither way yet."""

    because: tuple[Because, ...]
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailedGate:
    """Go back: these planes, the likeliest culprit first."""

    because: Because
    suspects: tuple[Plane, ...]


Gate = Passed | Waiting | FailedGate

UNCLEAR: Final[Mapping[Result, Reason]] = MappingProxyType(
    {
        Result.NO_DATA: Reason.NO_DATA,
        Result.PROVIDER_ERROR: Reason.PROVIDER_ERROR,
        Result.INCONCLUSIVE: Reason.INCONCLUSIVE,
    }
)
"""What is neither a pass nor a failure, as the reason of a wait."""


@dataclass(frozen=True, slots=True)
class RingHealth:
    """A ring's counts, with time taken into account."""

    counts: RingCounts
    failures: tuple[Device, ...]
    """Devices that failed, or fell silent after they were ordered to change."""
    timed_out: int
    next_deadline: datetime | None


def ring_health(observed: Observed, ring: int, now: datetime) -> RingHealth:
    """Add to a ring's counts what only time tells: a device that is silent past its deadline has failed."""
    deadlines = {
        device.name: deadline
        for device in observed.fleet.members(ring, Progress.IN_FLIGHT)
        if (deadline := deadline_of(device, observed.plan.deadlines)) is not None
    }
    silent = [device for device in observed.fleet.members(ring, Progress.IN_FLIGHT) if deadlines[device.name] <= now]
    failed = observed.fleet.members(ring, Progress.FAILED)
    ahead = [deadline for deadline in deadlines.values() if deadline > now]
    return RingHealth(
        observed.fleet.counts(ring),
        (*failed, *silent),
        len(silent),
        min(ahead, default=None),
    )


def devices_gate(observed: Observed, ring: int, health: RingHealth) -> FailedGate | None:
    """Fail a ring in which more devices failed than its rules allow; a failing step convicts its own plane."""
    rules, counts = observed.plan.rings[ring], health.counts
    failed = len(health.failures)
    if failed <= rules.max_failed.tolerated(counts.target) or counts.started < min(rules.min_samples, counts.target):
        return None
    votes = Counter(device.step.plane for device in health.failures if device.step is not None)
    order = observed.plan.rollback.order
    suspects = tuple(sorted(votes, key=lambda plane: (-votes[plane], order.index(plane))))
    words = f"{failed} of {counts.started} devices failed in ring {rules.name}: {_reasons(health.failures)}"
    return FailedGate(Because(Reason.STEP_FAILED, words), suspects)


def confirmation_gate(observed: Observed, ring: int, health: RingHealth, held_half_way: int = 0) -> Gate:
    """Ask, once nothing is left to order in a ring, whether enough of it has confirmed.

    Devices that a person holds are not asked for, however far they came.
    """
    rules, success, counts = observed.plan.rings[ring], observed.plan.success, health.counts
    started = counts.started - held_half_way
    needed = max(ceil(success.confirmed * started), fewest_confirmed(observed.plan, ring))
    if counts.confirmed >= needed:
        words = f"{counts.confirmed} of {started} devices of ring {rules.name} confirmed"
        return Passed(Because(Reason.RING_CONFIRMED, words))
    words = (
        f"ring {rules.name} has {counts.confirmed} confirmed devices and needs {needed}"
        f" (started {started} of {counts.target}, offline {counts.offline}, failed {len(health.failures)})"
    )
    if health.failures:
        suspects = {device.step.plane for device in health.failures if device.step is not None}
        order = tuple(plane for plane in observed.plan.rollback.order if plane in suspects)
        return FailedGate(Because(Reason.TOO_FEW_CONFIRMED, words), order)
    return Waiting((Because(Reason.BLOCKED, words),))


def fewest_confirmed(plan: Plan, ring: int) -> int:
    """How many devices of a ring must have confirmed, whatever the shares say; a ring of nobody proves nothing."""
    return max(1, plan.success.min_confirmed, plan.rings[ring].minimum)


def counted(observed: Observed, state: RevisionState) -> RevisionState:
    """Take new verdicts into the tallies: a pass ends a series of failures, anything else leaves it standing."""
    before = {tally.signal: tally for tally in state.tallies}
    tallies = tuple(
        _tally(
            before.get(signal.name),
            observed.verdicts.get(signal.name),
            signal.name,
            state.since,
        )
        for signal in observed.plan.signals
    )
    kept = tuple(tally for tally in tallies if tally is not None)
    return state if kept == state.tallies else replace(state, tallies=kept)


def _tally(before: Tally | None, verdict: Verdict | None, signal: str, since: datetime) -> Tally | None:
    if verdict is None or verdict.at < since or (before is not None and verdict.at <= before.at):
        return before
    failures = before.failures if before else 0
    match verdict.result:
        case Result.PASS:
            failures = 0
        case Result.FAIL:
            failures += 1
        case Result.NO_DATA | Result.PROVIDER_ERROR | Result.INCONCLUSIVE:
            pass
        case _:
            assert_never(verdict.result)
    return Tally(signal, failures, verdict.at)


def failing_signals(observed: Observed, state: RevisionState) -> tuple[str, ...]:
    """The signals that have failed as often in a row as their rule allows."""
    failures = {tally.signal: tally.failures for tally in state.tallies}
    return tuple(s.name for s in observed.plan.signals if failures.get(s.name, 0) >= s.failure_limit)


def signals_gate(observed: Observed, state: RevisionState, window: timedelta, now: datetime) -> Gate:
    """Ask whether health held for a whole window: every signal must pass at its end, on data from then."""
    if failing := failing_signals(observed, state):
        return FailedGate(
            Because(Reason.SIGNAL_FAILED, _evidence(observed, failing)),
            suspects(observed, failing),
        )
    end = state.since + window
    unclear = tuple(because for because in map(_wait, _latest(observed, state)) if because)
    if now < end:
        seconds = int((end - now).total_seconds()) + 1
        return Waiting(
            (
                Because(Reason.SOAKING, f"watching health for another {seconds} s"),
                *unclear,
            ),
            end,
        )
    at_end = {verdict.signal: verdict for verdict in _latest(observed, state) if verdict.at >= end}
    missing = [signal.name for signal in observed.plan.signals if signal.name not in at_end]
    if unclear or missing:
        waits = tuple(Because(Reason.SOAKING, f"waiting for a fresh verdict of {name}") for name in missing)
        return Waiting(unclear or waits)
    failed = [verdict.signal for verdict in at_end.values() if verdict.result is not Result.PASS]
    if failed:
        return Waiting(
            (
                Because(
                    Reason.SIGNAL_FAILED,
                    f"{_evidence(observed, tuple(failed))}; looking again",
                ),
            )
        )
    return Passed(
        Because(
            Reason.RING_PROMOTED,
            _evidence(observed, tuple(at_end)) or "no signal is asked for",
        )
    )


def suspects(observed: Observed, failing: tuple[str, ...]) -> tuple[Plane, ...]:
    """The planes that this revision changed, by the votes of the failing signals, then by the rollback order."""
    changed = {
        plane
        for device in observed.fleet.participants()
        for plane, assignment in device.assigned.items()
        if assignment.revision == observed.fleet.revision and plane in observed.plan.target
    }
    votes = Counter(plane for s in observed.plan.signals if s.name in failing for plane in s.blames)
    order = observed.plan.rollback.order
    return tuple(sorted(changed, key=lambda plane: (-votes[plane], order.index(plane))))


def _latest(observed: Observed, state: RevisionState) -> list[Verdict]:
    return [
        verdict
        for signal in observed.plan.signals
        if (verdict := observed.verdicts.get(signal.name)) is not None and verdict.at >= state.since
    ]


def _wait(verdict: Verdict) -> Because | None:
    reason = UNCLEAR.get(verdict.result)
    return Because(reason, f"{verdict.signal}: {verdict.message}") if reason else None


def _evidence(observed: Observed, names: tuple[str, ...]) -> str:
    verdicts = (observed.verdicts.get(name) for name in sorted(names))
    return "; ".join(f"{verdict.signal}: {verdict.message}" for verdict in verdicts if verdict)


def _reasons(devices: tuple[Device, ...]) -> str:
    """The distinct reasons, the most frequent first, each with its count and its plane."""
    reasons = Counter(
        f"{device.step.plane} {device.status(device.step.plane).reason or DeviceReason.DIGEST_MISMATCH}"
        if device.answered
        else f"{device.step.plane} TimedOut"
        for device in devices
        if device.step is not None
    )
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0])))
