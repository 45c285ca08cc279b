"""Gates: what a ring's devices and signals say about going on. A gate fails closed.

Each policy looks at one thing; whatever is neither a pass nor a failure is a wait with its reason.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from types import MappingProxyType
from typing import Final, assert_never

from backstay.core.devices import Device, RevisionName
from backstay.core.failures import FailureKind, failure_of, sort_of
from backstay.core.fleet import Progress, RingCounts, regressed_plane
from backstay.core.observed import Observed
from backstay.core.plan import Denominator, Plan
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Tally
from backstay.core.signals import Result, Signal, Verdict, WhenUnclear, worse_than_baseline


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
    """Go back: these planes, the likeliest culprit first. Without any the rollout stops for a person."""

    because: Because
    suspects: tuple[Plane, ...]
    evidence: tuple[Verdict, ...] = ()
    """The verdicts that failed it."""


Gate = Passed | Waiting | FailedGate


@dataclass(frozen=True, slots=True)
class Held:
    """Devices of a ring that a person holds: like offline ones, no gate asks for them."""

    devices: int = 0
    half_way: int = 0
    """Those of them that had changed in some plane before."""


NOBODY_HELD: Final = Held()

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
    resource_probes: frozenset[str]

    @property
    def kinds(self) -> tuple[FailureKind, ...]:
        """What kind of failure each of them is; most decisions need only their number."""
        return tuple(failure_of(device, self.resource_probes) for device in self.failures)

    @property
    def evidence(self) -> tuple[Device, ...]:
        """The failures that speak against a version."""
        return tuple(d for d, kind in zip(self.failures, self.kinds, strict=True) if kind.is_evidence)

    def words(self) -> str:
        """The distinct failures, the most frequent first, each with its count and its plane."""
        found = Counter(sort_of(device, kind) for device, kind in zip(self.failures, self.kinds, strict=True))
        return ", ".join(f"{words} ({count})" for words, count in sorted(found.items(), key=lambda f: (-f[1], f[0])))


def ring_health(observed: Observed, ring: int, now: datetime) -> RingHealth:
    """Add to a ring's counts what only time tells: a device that is silent past its deadline has failed.

    One that fell silent under an earlier revision spends the budget, and is no failure of this one.
    """
    fleet = observed.fleet
    silent = fleet.by_rank(timed_out(observed, ring, now))
    failures = (*fleet.members(ring, Progress.FAILED), *silent)
    deadline = fleet.next_deadline(ring, now)
    return RingHealth(fleet.counts(ring), failures, len(silent), deadline, observed.plan.resource_probes)


def timed_out(observed: Observed, ring: int, now: datetime) -> list[Device]:
    """The devices of a ring that fell silent after this revision ordered them to change, the longest silent first."""
    fleet = observed.fleet
    return [device for device in fleet.silent(ring, now) if _is_of_revision(device, fleet.revision)]


def _is_of_revision(device: Device, revision: RevisionName) -> bool:
    if device.step is None or (assignment := device.assigned.get(device.step.plane)) is None:
        return False
    return assignment.revision == revision


def devices_gate(observed: Observed, state: RevisionState, ring: int, health: RingHealth) -> FailedGate | None:
    """Fail a ring in which more devices failed than its rules allow; a failing step convicts its own plane.

    What could not be delivered says nothing against the version: too much of it stops the rollout and returns nothing.
    """
    rules, counts = observed.plan.rings[ring], health.counts
    allowed = rules.max_failed.tolerated(counts.target) + pardoned(state, ring)
    failed = len(health.failures)
    if failed <= allowed or counts.started < min(rules.min_samples, counts.target):
        return None
    words = f"{failed} of {counts.started} devices failed in ring {rules.name}: {health.words()}"
    if len(health.evidence) <= allowed:
        return FailedGate(Because(Reason.UNDELIVERED, f"{words}; nothing arrived, so no version is to blame"), ())
    return FailedGate(Because(Reason.STEP_FAILED, words), _convicted_by(health.evidence, observed))


def pardoned(state: RevisionState, ring: int) -> int:
    """How many failures of a ring a person has accepted."""
    return state.pardoned[ring] if ring < len(state.pardoned) else 0


def _convicted_by(failures: Iterable[Device], observed: Observed) -> tuple[Plane, ...]:
    """The planes in which devices failed, by their number, then by the rollback order; what cannot go back is none."""
    votes: Counter[Plane] = Counter()
    for device in failures:
        plane = regressed_plane(device, observed.fleet.revision) if device.answered else None
        if plane is not None or device.step is not None:
            votes[plane or device.step.plane] += 1  # type: ignore[union-attr]
    return _ordered(votes, observed.plan)


def _ordered(votes: Mapping[Plane, int], plan: Plan) -> tuple[Plane, ...]:
    reversible = (plane for plane in votes if plane in plan.target and plane not in plan.irreversible)
    return tuple(sorted(reversible, key=lambda plane: (-votes[plane], plan.rollback.order.index(plane))))


def confirmation_gate(observed: Observed, state: RevisionState, health: RingHealth, held: Held, now: datetime) -> Gate:
    """Ask, once nothing is left to order in a ring, whether enough of it has confirmed.

    Devices that a person holds are not asked for, however far they came, and neither are failures that a person has
    accepted. Devices that were offline from the beginning are waited for as long as their grace lasts.
    """
    ring = state.ring
    rules, success, counts = observed.plan.rings[ring], observed.plan.success, health.counts
    forgiven = min(pardoned(state, ring), len(health.failures))
    grace_ends = (state.ring_since or state.since) + success.offline_grace
    in_grace = counts.offline > 0 and now < grace_ends
    started = counts.started - held.half_way
    if success.of is Denominator.TARGET:
        asked = counts.target - held.devices - (0 if in_grace else counts.offline)
    else:
        asked = started
    needed = max(ceil(success.confirmed * (asked - forgiven)), fewest_confirmed(observed.plan, ring))
    if counts.confirmed >= needed:
        words = f"{counts.confirmed} of {asked} devices of ring {rules.name} confirmed"
        return Passed(Because(Reason.RING_CONFIRMED, words))
    words = (
        f"ring {rules.name} has {counts.confirmed} confirmed devices and needs {needed}"
        f" (started {started} of {counts.target}, offline {counts.offline}, failed {len(health.failures)})"
    )
    if len(health.failures) > forgiven:
        return FailedGate(Because(Reason.TOO_FEW_CONFIRMED, words), _convicted_by(health.evidence, observed))
    if in_grace:
        return Waiting((Because(Reason.WAITING_FOR_OFFLINE, words),), grace_ends)
    if held.devices and counts.confirmed + held.devices >= needed:
        return Waiting((Because(Reason.HELD, f"{words}, because {held.devices} of its devices are held"),))
    return Waiting((Because(Reason.BLOCKED, words),))


def fewest_confirmed(plan: Plan, ring: int) -> int:
    """How many devices of a ring must have confirmed, whatever the shares say; a ring of nobody proves nothing."""
    return max(1, plan.success.min_confirmed, plan.rings[ring].minimum)


def judged(observed: Observed, state: RevisionState) -> dict[str, Verdict]:
    """The verdicts that count for the present phase.

    Those from before the phase or from a signal's initial delay say nothing; a comparison is judged here, because how
    certain it must be depends on how often it was made.
    """
    looks = {tally.signal: tally for tally in state.tallies}
    found = {}
    for signal in observed.plan.signals:
        verdict = observed.verdicts.get(signal.name)
        if verdict is None or verdict.at < state.since + signal.initial_delay:
            continue
        if verdict.compared is not None:
            tally = looks.get(signal.name)
            look = 1 if tally is None else tally.looks + (verdict.at > tally.at)
            result, words = worse_than_baseline(signal, verdict.compared, max(1, look))
            verdict = replace(verdict, result=result, message=words)
        found[signal.name] = verdict
    return found


def counted(observed: Observed, state: RevisionState) -> RevisionState:
    """Take new verdicts into the tallies: a pass ends a series of failures, what is unclear leaves it standing."""
    before = {tally.signal: tally for tally in state.tallies}
    kept = tuple(
        tally
        for signal in observed.plan.signals
        if (tally := _tally(before.get(signal.name), observed.verdicts.get(signal.name), signal)) is not None
    )
    return state if kept == state.tallies else replace(state, tallies=kept)


def _tally(before: Tally | None, verdict: Verdict | None, signal: Signal) -> Tally | None:
    if verdict is None or (before is not None and verdict.at <= before.at):
        return before
    tally = replace(before or Tally(signal.name, 0, verdict.at), at=verdict.at)
    tally = replace(tally, looks=tally.looks + (verdict.compared is not None))
    match verdict.result:
        case Result.PASS:
            return replace(tally, failures=0, unclear_since=None)
        case Result.FAIL:
            return replace(tally, failures=tally.failures + 1, total=tally.total + 1, unclear_since=None)
        case Result.NO_DATA | Result.PROVIDER_ERROR | Result.INCONCLUSIVE:
            if signal.when(verdict.result) is WhenUnclear.FAIL:
                return replace(tally, failures=tally.failures + 1, total=tally.total + 1, unclear_since=None)
            return replace(tally, unclear_since=tally.unclear_since or verdict.at)
        case _:
            assert_never(verdict.result)


def failing_signals(observed: Observed, state: RevisionState) -> tuple[str, ...]:
    """The signals that have failed as often as their rule allows, in a row or altogether."""
    tallies = {tally.signal: tally for tally in state.tallies}
    return tuple(
        signal.name
        for signal in _gating(observed)
        if (tally := tallies.get(signal.name)) is not None
        and (
            tally.failures >= signal.failure_limit
            or (signal.total_failure_limit is not None and tally.total >= signal.total_failure_limit)
        )
    )


def _gating(observed: Observed) -> Iterable[Signal]:
    return (signal for signal in observed.plan.signals if not signal.dry_run)


def unclear_for_too_long(observed: Observed, state: RevisionState, now: datetime) -> FailedGate | None:
    """Stop for a person where a signal says nothing and its rule does not let the rollout wait for it any longer."""
    tallies = {tally.signal: tally for tally in state.tallies}
    for signal in _gating(observed):
        verdict, tally = observed.verdicts.get(signal.name), tallies.get(signal.name)
        if verdict is None or tally is None or tally.unclear_since is None or verdict.result not in UNCLEAR:
            continue
        words = f"{signal.name}: {verdict.message}"
        if is_excused(observed, state, verdict):
            continue
        if signal.when(verdict.result) is WhenUnclear.HALT:
            return FailedGate(Because(UNCLEAR[verdict.result], words), (), (verdict,))
        if signal.wait_limit is not None and now >= tally.unclear_since + signal.wait_limit:
            minutes = int(signal.wait_limit.total_seconds() // 60)
            because = Because(Reason.UNCLEAR_TOO_LONG, f"{words}; it has said nothing else for {minutes} min")
            return FailedGate(because, (), (verdict,))
    return None


def _limits(observed: Observed, state: RevisionState, now: datetime) -> datetime | None:
    """When the first signal that is unclear now will have been so for too long."""
    limits = {signal.name: signal.wait_limit for signal in _gating(observed)}
    ends = (
        tally.unclear_since + limit
        for tally in state.tallies
        if tally.unclear_since is not None and (limit := limits.get(tally.signal)) is not None
    )
    return min((end for end in ends if end > now), default=None)


def is_excused(observed: Observed, state: RevisionState, verdict: Verdict) -> bool:
    """Tell whether a comparison lacks its baseline because the release itself has left none."""
    is_last = state.phase is Phase.STABILIZING or state.ring + 1 == len(observed.plan.rings)
    return verdict.lacks_baseline and (is_last or state.phase is Phase.VERIFYING)


def signals_gate(observed: Observed, state: RevisionState, window: timedelta, now: datetime) -> Gate:
    """Ask whether health held for a whole window: every signal must pass at its end, on data from then."""
    if failing := failing_signals(observed, state):
        evidence = tuple(verdict for name in failing if (verdict := observed.verdicts.get(name)) is not None)
        return FailedGate(
            Because(Reason.SIGNAL_FAILED, words_of_verdicts(evidence)), suspects(observed, failing), evidence
        )
    if too_long := unclear_for_too_long(observed, state, now):
        return too_long
    end = state.since + max(window, *(signal.initial_delay for signal in observed.plan.signals), timedelta(0))
    verdicts = [v for signal in _gating(observed) if (v := observed.verdicts.get(signal.name)) is not None]
    excused = [verdict for verdict in verdicts if is_excused(observed, state, verdict)]
    asked = [verdict for verdict in verdicts if verdict not in excused]
    unclear = tuple(
        Because(reason, f"{verdict.signal}: {verdict.message}")
        for verdict in asked
        if (reason := UNCLEAR.get(verdict.result))
    )
    limit = _limits(observed, state, now)
    if now < end:
        seconds = ceil((end - now).total_seconds())
        waits = (Because(Reason.SOAKING, f"watching health for another {seconds} s"), *unclear)
        return Waiting(waits, min(end, limit) if limit else end)
    at_end = {verdict.signal: verdict for verdict in (*asked, *excused) if verdict.at >= end}
    missing = [signal.name for signal in _gating(observed) if signal.name not in at_end]
    if unclear or missing:
        waits = tuple(Because(Reason.SOAKING, f"waiting for a fresh verdict of {name}") for name in missing)
        return Waiting(unclear or waits, limit)
    failed = [verdict for verdict in at_end.values() if verdict.result is Result.FAIL]
    if failed:
        return Waiting((Because(Reason.SIGNAL_FAILED, f"{words_of_verdicts(failed)}; looking again"),))
    return Passed(Because(Reason.RING_PROMOTED, words_of_verdicts(at_end.values()) or "no signal is asked for"))


def suspects(observed: Observed, failing: tuple[str, ...]) -> tuple[Plane, ...]:
    """The planes that this revision changed, by the votes of the failing signals, then by the rollback order."""
    changed = {plane for bucket in observed.fleet.all_buckets() for plane in bucket.kind.changed}
    blamed = Counter(plane for s in observed.plan.signals if s.name in failing for plane in s.blames)
    return _ordered({plane: blamed[plane] for plane in changed}, observed.plan)


def words_of_verdicts(verdicts: Iterable[Verdict]) -> str:
    """What some verdicts say, in the order of their signals."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.signal)
    return "; ".join(f"{verdict.signal}: {verdict.message}" for verdict in ordered)
