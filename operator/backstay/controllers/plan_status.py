"""What the operator says of a plan: how far it is, why it stands where it stands, and what it must remember."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backstay.api import ReleasePlan
from backstay.api.releaseplan_status import ReleasePlanSummary
from backstay.api.state_conversion import evidence_of, progress_of
from backstay.controllers.conditions import Says, conditions
from backstay.controllers.plan_conditions import Standing, plan_conditions, troubles
from backstay.controllers.shelf import Seen
from backstay.controllers.times import rfc3339
from backstay.core.actions import Decision, Freeze, RingReport
from backstay.core.holds import Conviction
from backstay.core.plan import Plan
from backstay.core.revision import Outcome, Phase, RevisionState
from backstay.core.signals import Result, Verdict

Json = dict[str, Any]

MOST_HISTORY: Final = 10
MOST_VERDICTS: Final = 20
LONGEST_ANSWER: Final = 2048
_WORST_FIRST: Final = (Result.FAIL, Result.PROVIDER_ERROR, Result.NO_DATA, Result.INCONCLUSIVE, Result.PASS)


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a plan's status is made of."""

    written: ReleasePlan
    ruling: Plan
    decision: Decision
    standing: Standing
    devices: int
    now: datetime
    ended_versions: Mapping[str, str] = field(default_factory=dict)
    """What the revision shipped that this decision ends, by plane."""

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The verdicts of the present watch, as the decision judged them."""
        return {verdict.signal: verdict for verdict in self.decision.verdicts}


def plan_status(picture: Picture, before: Json) -> Json:
    """The whole status; `before` is the present one, of which times and history are kept."""
    decision, state = picture.decision, picture.decision.state
    has_begun = state.counter > 0
    ring = picture.ruling.rings[state.ring].name if state.ring < len(picture.ruling.rings) else ""
    generation = picture.written.metadata.generation
    says = plan_conditions(picture.written, picture.ruling.rings, decision, picture.standing)
    # Without a target nobody can have confirmed it.
    rings = decision.rings if picture.ruling.target else ()
    return {
        "observedGeneration": generation,
        "revision": state.revision if has_begun else "",
        "phase": state.phase.value,
        "phaseSince": _seconds(state.since) if has_begun else before.get("phaseSince") or _seconds(picture.now),
        "ring": ring,
        "rings": _rings(picture, rings, before),
        "culprit": _culprit(picture),
        "lastHandledRequest": state.handled,
        "requestAnswer": _answer(decision) or before.get("requestAnswer"),
        "evidence": evidence_of(state, _rules(picture)),
        "history": _history(decision.ended, picture.ended_versions, before),
        # Through the model, which cuts a cell to what the API server takes: one long name must not cost the status.
        "summary": ReleasePlanSummary(
            ring=ring,
            confirmed=f"{sum(report.counts.confirmed for report in rings)}/{picture.devices}",
            health=_health(picture),
        ).to_document(),
        "progress": {**progress_of(state), "verdicts": _verdicts(picture, before)} if has_begun else None,
        "conditions": conditions(says, before.get("conditions", ()), generation, picture.now),
    }


def unreadable_status(seen: Seen[ReleasePlan], now: datetime) -> Json:
    """The status of a plan that this version does not understand: nothing starts, and what is on record stays."""
    generation = seen.raw["metadata"].get("generation", 0)
    says = [
        Says("Ready", status=False, reason="Invalid", message=seen.problem),
        Says("Stalled", status=True, reason="Invalid", message=seen.problem),
        Says("Accepted", status=False, reason="Invalid", message=seen.problem),
    ]
    return {**seen.status, "conditions": conditions(says, seen.status.get("conditions", ()), generation, now)}


def _rings(picture: Picture, reports: tuple[RingReport, ...], before: Json) -> list[Json]:
    state = picture.decision.state
    is_same = before.get("revision") == state.revision
    earlier = {ring["name"]: ring for ring in before.get("rings", ())} if is_same else {}
    return [_ring(picture, index, report, earlier.get(report.name, {})) for index, report in enumerate(reports)]


def _ring(picture: Picture, index: int, report: RingReport, earlier: Json) -> Json:
    state, counts = picture.decision.state, report.counts
    is_current = index == state.ring
    is_passed = index < state.ring or state.phase in {Phase.STABILIZING, Phase.SUCCEEDED}
    is_soaking = is_current and state.phase is Phase.SOAKING
    # While a ring rolls, the verdicts at hand are still those of the ring before it.
    is_judged = is_current and state.phase is not Phase.ROLLING
    found = {verdict.result for verdict in picture.verdicts.values()} if is_judged else set()
    worst = next((result.value for result in _WORST_FIRST if result in found), None)
    return {
        "name": report.name,
        "target": counts.target,
        "assigned": counts.started,
        "started": counts.started,
        "confirmed": counts.confirmed,
        "failed": counts.failed + report.timed_out,
        "offline": counts.offline,
        "inFlight": counts.in_flight,
        "verdict": worst or earlier.get("verdict"),
        "soakStarted": _seconds(state.since) if is_soaking else earlier.get("soakStarted"),
        "passed": earlier.get("passed") or _seconds(state.since) if is_passed else None,
        "errorBudgetSpent": _budget_spent(picture) if is_soaking else earlier.get("errorBudgetSpent"),
    }


def _budget_spent(picture: Picture) -> str | None:
    """The largest part that any comparison has used of the looks that the soak plans; absent without comparisons."""
    watch = picture.decision.watch
    compared = {signal.name for signal in picture.ruling.signals if signal.comparison is not None}
    looks = [tally.looks for tally in picture.decision.state.tallies if tally.signal in compared]
    if watch is None or not looks:
        return None
    return f"{max(looks) / watch.looks:.2f}"


def _answer(decision: Decision) -> Json | None:
    if decision.answer is None:
        return None
    return {"reason": decision.answer.reason.value, "message": decision.answer.message[:LONGEST_ANSWER]}


def _rules(picture: Picture) -> dict[str, str]:
    return {signal.name: signal.rule for signal in picture.ruling.signals}


def _culprit(picture: Picture) -> Json | None:
    """The plane whose return restored health, once it did; what a person asked to go back is guilty of nothing."""
    state = picture.decision.state
    if state.phase is not Phase.ROLLED_BACK or state.plane is None or state.asked_by is not None:
        return None
    release = picture.ruling.target.get(state.plane)
    if release is None:
        return None
    evidence = state.cause.message if state.cause else ""
    verdict = Conviction.SUSPECT if state.recovered_unaided else Conviction.CONVICTED
    freeze = Freeze(state.plane, release.content, release.version, verdict, evidence, state.segment)
    return {
        "plane": state.plane.value,
        "version": release.version,
        "digest": release.content,
        "verdict": verdict.value,
        "reason": evidence[:2048],
        "hold": freeze.hold_name,
    }


def _history(ended: Outcome | None, versions: Mapping[str, str], before: Json) -> list[Json]:
    """The latest first; a revision stands in it once."""
    earlier: list[Json] = list(before.get("history", ()))
    if ended is None:
        return earlier
    latest = {
        "revision": ended.revision,
        "versions": dict(versions),
        "phase": ended.phase.value,
        "ended": rfc3339(ended.ended),
        "reason": ended.message[:2048],
    }
    others = [past for past in earlier if past["revision"] != ended.revision]
    return [latest, *others][:MOST_HISTORY]


def _health(picture: Picture) -> str:
    """Healthy, or the one word that says best why not."""
    state: RevisionState = picture.decision.state
    if state.phase in {Phase.ROLLING_BACK, Phase.VERIFYING, Phase.ROLLED_BACK} and state.plane is not None:
        return f"{state.plane} {'returned' if state.phase is Phase.ROLLED_BACK else 'returning'}"
    if trouble := troubles(picture.decision, picture.standing):
        return trouble[0].reason
    failing = sorted(name for name, verdict in picture.verdicts.items() if verdict.result is not Result.PASS)
    if failing:
        return f"{picture.verdicts[failing[0]].result}: {failing[0]}"
    if any(report.counts.failed + report.timed_out for report in picture.decision.rings):
        return "DevicesFailed"
    return "Healthy"


def _verdicts(picture: Picture, before: Json) -> list[Json]:
    """The latest verdicts; the last ones of a revision stay when nothing is watched any more."""
    if not picture.verdicts and before.get("revision") == picture.decision.state.revision:
        earlier: list[Json] = before.get("progress", {}).get("verdicts", [])
        return earlier
    rules = _rules(picture)
    return [
        {
            "signal": verdict.signal,
            "rule": rules.get(verdict.signal, ""),
            "result": verdict.result.value,
            "value": None if verdict.value is None else f"{verdict.value:.6g}",
            "query": verdict.query[:8192],
            "message": verdict.message[:1024],
            "at": rfc3339(verdict.at),
        }
        for _, verdict in sorted(picture.verdicts.items())
    ][:MOST_VERDICTS]


def _seconds(at: datetime) -> str:
    return rfc3339(at.replace(microsecond=0)).replace(".000000Z", "Z")
