"""The conditions of a plan: may it start, does it move, does it wait for somebody, has it got there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from backstay.api import ReleasePlan
from backstay.controllers.conditions import Says
from backstay.controllers.resolution import Refused, Resolved
from backstay.core.actions import Decision
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase
from backstay.ports.verify import NotConfigured, Verdict, Verified

_STUCK: Final = frozenset(
    {
        Reason.NO_PATH,
        Reason.FROZEN,
        Reason.CONFLICT,
        Reason.UNRESOLVED_ARTIFACT,
        Reason.EMPTY_RING,
        Reason.BLOCKED,
        Reason.HELD,
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
    if standing.refused is not None and not found:
        found = [standing.refused.because]
    found += [Because(Reason.BLOCKED, problem) for problem in standing.problems]
    return tuple(found)


def plan_conditions(plan: ReleasePlan, decision: Decision, standing: Standing) -> list[Says]:
    """Every condition of a plan, in the order in which a person reads them."""
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
        Says("RecoveryProven", None, "NotRehearsed", "recovery is not rehearsed by this version of the operator"),
        _succeeded(decision, words),
        _paging(standing.paging_problem),
        *_request(plan),
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


def _request(plan: ReleasePlan) -> list[Says]:
    """A request that a person wrote as an annotation is never passed over in silence."""
    if (asked := plan.metadata.annotations.get(REQUEST)) is None:
        return []
    words = f"the annotation {REQUEST} asks for {asked[:200]!r}; this version of the operator acts on no requests"
    return [Says("RequestHandled", status=False, reason="NotYetSupported", message=words)]


def _paging(problem: str) -> Says:
    if problem:
        return Says("Paging", status=False, reason="AlertmanagerUnavailable", message=problem)
    return Says("Paging", status=True, reason="Delivered", message="every page that is due was delivered")
