"""The conditions of a plan: may it start, does it move, does it wait for somebody, has it got there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from backstay.api import ReleasePlan
from backstay.controllers.conditions import Says
from backstay.controllers.resolution import Refused, Resolved
from backstay.core.actions import Decision, Dispatch
from backstay.core.plan import Ring
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.requests import LONGEST
from backstay.core.revision import Phase, RevisionState
from backstay.ports.verify import NotConfigured, Verdict, Verified

_STUCK: Final = frozenset(
    {
        Reason.NO_PATH,
        Reason.NO_WAY_BACK,
        Reason.FROZEN,
        Reason.CONFLICT,
        Reason.UNRESOLVED_ARTIFACT,
        Reason.EMPTY_RING,
        Reason.BLOCKED,
        Reason.WAITING_FOR_APPROVAL,
        Reason.HELD,
        Reason.GROUP_BUSY,
        Reason.BUDGET_SPENT,
        Reason.CANNOT_FALL_BACK,
        Reason.CATCH_UP_STOPPED,
        Reason.NOT_ALL_RETURNED,
        Reason.PROVIDER_ERROR,
        Reason.NO_DATA,
        Reason.INCONCLUSIVE,
    }
)
"""What waits for somebody who would not know of it otherwise."""
REQUEST: Final = "backstay.dev/request"
_OVER: Final = frozenset({Phase.ROLLED_BACK, Phase.UNRESOLVED, Phase.HALTED})


@dataclass(frozen=True, slots=True)
class Standing:
    """What the shell knows beside the decision."""

    refused: Refused | None = None
    resolved: Resolved | None = None
    paging_problem: str = ""
    problems: tuple[str, ...] = field(default=())
    """What the API server did not take."""


def troubles(decision: Decision, standing: Standing) -> tuple[Because, ...]:
    """Everything that stands still until somebody does something."""
    found = [because for because in decision.because if because.reason in _STUCK]
    if _is_moving(decision):
        # A group that lets only some devices change at the same time is no trouble while they do.
        found = [because for because in found if because.reason is not Reason.GROUP_BUSY]
    if standing.refused is not None and not found:
        found = [standing.refused.because]
    found += [Because(Reason.BLOCKED, problem) for problem in standing.problems]
    return tuple(found)


def _is_moving(decision: Decision) -> bool:
    """Tell whether the plan has ordered devices that have not answered yet."""
    if any(isinstance(action, Dispatch) for action in decision.actions):
        return True
    return any(report.counts.in_flight > report.timed_out for report in decision.rings)


def plan_conditions(plan: ReleasePlan, rings: tuple[Ring, ...], decision: Decision, standing: Standing) -> list[Says]:
    """Every condition of a plan, in the order in which a person reads them; `rings` are those that rule."""
    why = decision.because[0] if decision.because else Because(Reason.WAITING_FOR_DEVICES, "")
    words = "; ".join(because.message for because in decision.because)
    stuck = troubles(decision, standing)
    succeeded = decision.phase is Phase.SUCCEEDED and standing.refused is None
    over = decision.phase in _OVER
    return [
        _ready(succeeded, plan, why, words),
        _reconciling(decision, why, words, is_stopped=over or succeeded or bool(stuck)),
        _stalled(decision, stuck, words, over=over),
        _accepted(standing.refused),
        _verified(standing.resolved),
        _recovery_proven(rings, decision.state),
        _succeeded(decision, words),
        _paging(standing.paging_problem),
        *_request(plan, decision.state),
    ]


def _ready(succeeded: bool, plan: ReleasePlan, why: Because, words: str) -> Says:  # noqa: FBT001 - it is what is said
    if succeeded:
        return Says("Ready", status=True, reason="Succeeded", message=words)
    reason = "Paused" if plan.spec.paused else why.reason.value
    return Says("Ready", status=False, reason=reason, message=words)


def _reconciling(decision: Decision, why: Because, words: str, *, is_stopped: bool) -> Says:
    if is_stopped:
        return Says("Reconciling", status=False, reason=decision.phase.value, message="nothing moves")
    return Says("Reconciling", status=True, reason=why.reason.value, message=f"{decision.phase}: {words}")


def _stalled(decision: Decision, stuck: tuple[Because, ...], words: str, *, over: bool) -> Says:
    if over:
        return Says("Stalled", status=True, reason=decision.phase.value, message=words)
    if stuck:
        message = "; ".join(because.message for because in stuck)
        return Says("Stalled", status=True, reason=stuck[0].reason.value, message=message)
    return Says("Stalled", status=False, reason=decision.phase.value, message="nothing waits for a person")


def _accepted(refused: Refused | None) -> Says:
    if refused is None:
        return Says("Accepted", status=True, reason="Accepted", message="the plan can be carried out")
    return Says("Accepted", status=False, reason=refused.reason.value, message=refused.message)


def _verified(resolved: Resolved | None) -> Says:
    signatures: Mapping[Plane, Verdict] = {} if resolved is None else resolved.signatures
    unchecked = [plane for plane, verdict in signatures.items() if isinstance(verdict, NotConfigured)]
    if unchecked:
        return Says("Verified", None, "NoPublicKeys", str(signatures[unchecked[0]]))
    signed = {plane: str(verdict) for plane, verdict in signatures.items() if isinstance(verdict, Verified)}
    if not signed:
        return Says("Verified", None, "NotResolved", "the artifacts have not been read yet")
    return Says("Verified", status=True, reason="Signed", message="; ".join(f"{p} {v}" for p, v in signed.items()))


def _succeeded(decision: Decision, words: str) -> Says:
    if decision.phase is Phase.SUCCEEDED:
        return Says("Succeeded", status=True, reason="Succeeded", message=words)
    if decision.phase in _OVER:
        return Says("Succeeded", status=False, reason=decision.phase.value, message=words)
    return Says("Succeeded", None, decision.phase.value, "the revision has not ended yet")


def _recovery_proven(rings: tuple[Ring, ...], state: RevisionState) -> Says:
    """Whether this revision has shown on devices that going back works, as far as its rings ask for it so far."""
    asked = {ring.name: index for index, ring in enumerate(rings) if ring.rehearsal is not None}
    if not asked:
        return Says("RecoveryProven", None, "NotAsked", "no ring of the plan rehearses recovery")
    if state.cause is not None and state.cause.reason is Reason.REHEARSAL_FAILED:
        return Says("RecoveryProven", status=False, reason="RehearsalFailed", message=state.cause.message)
    so_far = [name for name, index in asked.items() if index <= state.ring] or [next(iter(asked))]
    if missing := [name for name in so_far if name not in state.rehearsed]:
        return Says("RecoveryProven", None, "NotYet", f"ring {missing[0]} has not rehearsed recovery")
    return Says("RecoveryProven", status=True, reason="Rehearsed", message=f"proven in ring {', '.join(so_far)}")


def _request(plan: ReleasePlan, state: RevisionState) -> list[Says]:
    """A request that cannot be answered yet is never passed over in silence."""
    asked = plan.metadata.annotations.get(REQUEST)
    if asked is None or asked[:LONGEST] == state.handled:
        return []
    words = f"the annotation {REQUEST} asks for {asked[:200]!r}; it is answered once the plan can be carried out"
    return [Says("RequestHandled", None, "Waiting", words)]


def _paging(problem: str) -> Says:
    if problem:
        return Says("Paging", status=False, reason="AlertmanagerUnavailable", message=problem)
    return Says("Paging", status=True, reason="Delivered", message="every page that is due was delivered")
