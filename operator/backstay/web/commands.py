"""What a person could do next, as the exact command: the page itself changes nothing."""

import shlex
from dataclasses import dataclass

from backstay.api import ReleasePlan
from backstay.api.releaseplan_status import RevisionPhase
from backstay.web.urgency import Rank, Stand


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and what it does."""

    line: str
    does: str


def command(does: str, *words: str, namespace: str) -> Command:
    """A command of `backstay` for a namespace; a name that a shell would read otherwise is quoted."""
    return Command(shlex.join(("backstay", *words, "-n", namespace)), does)


def of_plan(plan: ReleasePlan, stand: Stand) -> tuple[Command, ...]:
    """What may be asked of a plan where it stands, the likeliest first."""
    name, namespace = plan.metadata.name, plan.metadata.namespace
    found: list[Command] = []

    def offer(does: str, *words: str) -> None:
        found.append(command(does, *words, namespace=namespace))

    if stand.rank is Rank.WAITS_FOR_APPROVAL:
        offer("let the ring start that waits", "approve", name)
    if stand.rank is Rank.HALTED:
        offer("go on, and accept the failures so far", "resume", name)
    elif plan.spec.paused:
        offer("go on", "resume", name)
    if stand.rank in {Rank.HALTED, Rank.WENT_BACK, Rank.UNRESOLVED, Rank.BLOCKED}:
        offer("order the devices again that failed; of a revision that went back, start it anew", "retry", name)
    if plan.status.culprit is not None and plan.status.culprit.hold:
        offer("let the frozen version be shipped again", "lift", plan.status.culprit.hold)
    if plan.status.phase in _CAN_GO_BACK:
        offer("take the whole revision back", "rollback", name)
    if stand.rank in {Rank.RUNNING, Rank.WAITS_FOR_APPROVAL, Rank.BLOCKED} and not plan.spec.paused:
        offer("let nothing new start", "pause", name)
    offer("hear the same from the command line", "why", name)
    return tuple(found)


_CAN_GO_BACK = frozenset(
    {
        RevisionPhase.ROLLING,
        RevisionPhase.SOAKING,
        RevisionPhase.REHEARSING,
        RevisionPhase.STABILIZING,
        RevisionPhase.SUCCEEDED,
        RevisionPhase.HALTED,
    }
)
