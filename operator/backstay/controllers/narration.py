"""Says what happens to a plan, once: as Events for people, as lines in the log for whoever runs the operator."""

import logging
from collections import Counter
from typing import Final

from backstay.adapters.failpoints import Failpoints
from backstay.api import ReleasePlan
from backstay.controllers.orders import Done, Result
from backstay.controllers.plan_conditions import Standing, troubles
from backstay.controllers.wakes import Key
from backstay.core.actions import Decision, Dispatch, Freeze, Withdraw
from backstay.core.plan import Plan
from backstay.core.reasons import Reason
from backstay.core.revision import Phase, RevisionState
from backstay.ports.journal import Entry, Journal, Subject, Weight

_OF_A_RING: Final = frozenset({Phase.ROLLING, Phase.SOAKING, Phase.REHEARSING})
_BAD: Final = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.UNRESOLVED, Phase.HALTED})

log = logging.getLogger(__name__)


class Narrator:
    """The voice of one plan."""

    def __init__(self, key: Key, journal: Journal, failpoints: Failpoints) -> None:
        self._key = key
        self._journal = journal
        self._failpoints = failpoints
        self._told: tuple[str, ...] | None = None

    def moved(self, plan: ReleasePlan, ruling: Plan, decision: Decision) -> None:
        """The plan entered another phase, or another revision."""
        state = decision.state
        ring = f" ring {ruling.rings[state.ring].name}" if state.phase in _OF_A_RING else ""
        plane = f" {state.plane}" if state.plane and state.phase in {Phase.ROLLING_BACK, Phase.VERIFYING} else ""
        why = "; ".join(because.message for because in decision.because)
        log.info("%s/%s: %s%s%s: %s", *self._key, state.phase, ring, plane, why)
        weight = Weight.WARNING if state.phase in _BAD else Weight.NORMAL
        reason = state.phase.value if state.phase in _BAD else decision.because[0].reason.value
        self._record(plan, reason, f"{state.revision} {state.phase}{ring}{plane}: {why}", weight)

    def answered(self, plan: ReleasePlan, decision: Decision) -> None:
        """A person's request was carried out, or refused; either way they hear of it."""
        if (answer := decision.answer) is None:
            return
        log.info("%s/%s: %s: %s", *self._key, decision.state.handled, answer)
        weight = Weight.WARNING if answer.reason is Reason.REQUEST_REFUSED else Weight.NORMAL
        self._record(plan, answer.reason.value, f"{decision.state.handled}: {answer.message}", weight)

    def rehearsed(self, plan: ReleasePlan, before: RevisionState | None, decision: Decision) -> None:
        """Devices of a rehearsal went on; a person who watches one of them break must know that it was told to."""
        known = () if before is None else before.drills
        news = [f"{drill.device} {drill.kind} {drill.stage}" for drill in decision.state.drills if drill not in known]
        if news:
            words = f"{decision.state.revision} rehearses recovery: {', '.join(news)}"
            log.info("%s/%s: %s", *self._key, words)
            self._record(plan, Reason.REHEARSING.value, words, Weight.NORMAL)

    def stays(self, plan: ReleasePlan, decision: Decision) -> None:
        """Nothing moved; say so when the reasons for it are others than before.

        A decision that answers a person gives that as its only reason: what stands still, the next one tells.
        """
        if decision.answer is not None:
            return
        stuck = troubles(decision, Standing())
        reasons = tuple(because.reason.value for because in stuck)
        if reasons == self._told or (self._told is None and not reasons):
            self._told = reasons
            return
        self._told = reasons
        if stuck:
            words = "; ".join(because.message for because in stuck)
            log.warning("%s/%s: %s: %s", *self._key, reasons[0], words)
            self._record(plan, reasons[0], words, Weight.WARNING)
        else:
            log.info("%s/%s: goes on", *self._key)

    def acted(self, plan: ReleasePlan, results: list[Result]) -> None:
        """Actions were carried out, or were not."""
        self._ordered([r.action for r in results if r.done is Done.DONE and isinstance(r.action, Dispatch)])
        for result in results:
            match result.action, result.done:
                case Freeze() as freeze, Done.DONE:
                    what = f"{freeze.plane} {freeze.version} is frozen ({freeze.conviction}) by hold {freeze.hold_name}"
                    log.warning("%s/%s: %s: %s", *self._key, what, freeze.evidence)
                    self._record(plan, "Frozen", f"{what}: {freeze.evidence}", Weight.WARNING)
                case Withdraw(device=device), Done.DONE:
                    log.info("%s/%s: withdrew the order of %s", *self._key, device, extra={"device": device})
                case action, Done.REFUSED:
                    kind = type(action).__name__
                    log.warning("%s/%s: %s was refused: %s", *self._key, kind, result.problem, extra=_device_of(result))
                    self._record(plan, "WriteRefused", result.problem, Weight.WARNING)
                case _, Done.LOST:
                    log.warning("%s/%s: %s", *self._key, result.problem, extra=_device_of(result))
                case _:
                    pass

    def _ordered(self, orders: list[Dispatch]) -> None:
        kinds = Counter(
            f"{order.type.lower()} {order.release} in ring {order.ring}"
            + (f", as a rehearsal ({order.drill})" if order.drill else "")
            + (f", attempt {order.attempt}" if order.attempt > 1 else "")
            for order in orders
        )
        for kind, count in sorted(kinds.items()):
            log.info("%s/%s: ordered %d devices to %s", *self._key, count, kind)

    def _record(self, plan: ReleasePlan, reason: str, message: str, weight: Weight) -> None:
        self._failpoints.passing("before-event")
        metadata = plan.metadata
        subject = Subject(plan.api_version, plan.kind, metadata.namespace, metadata.name, metadata.uid)
        self._journal.record(Entry(subject, reason, message, weight))
        self._failpoints.passing("after-event")


def _device_of(result: Result) -> dict[str, str]:
    """The field `device` of a log line about one action."""
    return {} if isinstance(result.action, Freeze) else {"device": result.action.device}
