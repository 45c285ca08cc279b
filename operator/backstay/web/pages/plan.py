"""One plan: where it stands and why, its rings as they fill, what its signals say, and what happened."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from backstay.api import ReleasePlan
from backstay.api.releaseplan import Ring
from backstay.api.releaseplan_status import RevisionPhase, RingStatus
from backstay.core.revision import Tally
from backstay.core.signals import Result, Signal, Verdict
from backstay.core.why import NEXT, explain_plan
from backstay.errors import BackstayError
from backstay.ports.access import Kind
from backstay.ports.chronicle import Happening
from backstay.ports.overview import Decided, Known
from backstay.web.bars import Bar, ring_bar
from backstay.web.commands import of_plan
from backstay.web.drawing import Picture, limit_of, picture
from backstay.web.graphs import Graph
from backstay.web.pages.page import Content, Fragment, NotThere, Sources
from backstay.web.rights import Reader
from backstay.web.urgency import Stand, stand_of

_TONES = {
    Result.PASS: "ok",
    Result.FAIL: "bad",
    Result.INCONCLUSIVE: "wait",
    Result.NO_DATA: "wait",
    Result.PROVIDER_ERROR: "wait",
}
_OVER = frozenset({RevisionPhase.ROLLED_BACK, RevisionPhase.UNRESOLVED, RevisionPhase.HALTED, RevisionPhase.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class Said:
    """One reason, and what a person does about it."""

    reason: str
    message: str
    following: str = ""


@dataclass(frozen=True, slots=True)
class RingView:
    """One ring."""

    status: RingStatus
    bar: Bar
    place: str
    """passed, current, stopped or ahead."""
    gates: tuple[str, ...]
    verdict: str
    tone: str


@dataclass(frozen=True, slots=True)
class SignalView:
    """One signal with its last verdict."""

    signal: Signal
    limit: str
    blames: str
    verdict: Verdict | None
    tone: str
    spent: str
    """How many of the allowed failures there are."""
    graph: Graph | None
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class PlanPage:
    """A plan by its name."""

    namespace: str
    name: str

    @property
    def calm_seconds(self) -> float:
        """A second: the plan's counters are written no more often."""
        return 1.0

    async def read(self, reader: Reader, sources: Sources) -> Content:
        """The page as it is now."""
        kinds = await reader.kinds(self.namespace)
        plans = sources.overview.plans(self.namespace) if Kind.PLANS in kinds else ()
        known = next((one for one in plans if one.name == self.name), None)
        if known is None:
            raise NotThere
        decided = sources.overview.decided(self.namespace, self.name)
        stand = stand_of(known)
        graphs = await sources.graphs.of(decided) if decided is not None and Kind.RULES in kinds else None
        fragments = _fragments(known, stand, decided, graphs, kinds, sources.clock.now())
        fragments["events"] = await _told(self.namespace, self.name, kinds, sources)
        return Content(
            title=f"{stand.phase}: {self.name}",
            template="plan.html",
            headline=_headline(known, stand),
            fragments=fragments,
            namespaces=(self.namespace,),
            namespace=self.namespace,
            kinds=kinds,
            section="plans",
            name=self.name,
        )


def _fragments(
    known: Known[ReleasePlan],
    stand: Stand,
    decided: Decided | None,
    graphs: Mapping[str, Graph] | None,
    kinds: frozenset[Kind],
    now: datetime,
) -> dict[str, Fragment]:
    plan = known.model
    if plan is None:
        return {"now": Fragment("unreadable.html", {"known": known, "stand": stand})}
    namespace = plan.metadata.namespace
    now_values = {
        "plan": plan,
        "stand": stand,
        "said": tuple(_said(decided, stand)),
        "offered": of_plan(plan, stand),
        "wanted_versions": tuple((plane.value, wanted) for plane, wanted in plan.spec.versions.by_plane().items()),
        "why": _why(decided, kinds, now),
    }
    guilty = {"status": plan.status, "namespace": namespace, "sees_holds": Kind.HOLDS in kinds}
    return {
        "now": Fragment("now.html", now_values),
        "culprit": Fragment("culprit.html", guilty),
        "rings": Fragment("rings.html", {"rings": tuple(_rings(plan)), "plan": plan}),
        "signals": Fragment(
            "signals.html",
            {"signals": tuple(_signals(decided, graphs)), "sees_rules": graphs is not None, "decided": decided},
        ),
        "history": Fragment("history.html", {"history": plan.status.history}),
    }


def _said(decided: Decided | None, stand: Stand) -> Iterator[Said]:
    if decided is None:
        yield Said(stand.reason, stand.why)
        return
    for because in decided.decision.because:
        yield Said(because.reason.value, because.message, NEXT.get(because.reason, ""))


def _why(decided: Decided | None, kinds: frozenset[Kind], now: datetime) -> str:
    """The answer of `backstay why`, as far as the reader may hear it."""
    if decided is None:
        return ""
    observed = decided.observed if Kind.HOLDS in kinds else replace(decided.observed, holds=())
    return "\n".join(explain_plan(observed, decided.decision, now))


def _rings(plan: ReleasePlan) -> Iterator[RingView]:
    status = plan.status
    asked = plan.spec.rings or ()
    is_over = status.phase in _OVER
    written = {ring.name: ring for ring in asked}
    for ring in status.rings or tuple(RingStatus(name=ring.name) for ring in asked):
        place = (
            "passed" if ring.passed else "ahead" if ring.name != status.ring else "stopped" if is_over else "current"
        )
        gates = tuple(_gates(written[ring.name])) if ring.name in written else ()
        # Once everything has gone back all is well again; what stopped the ring is in the evidence.
        verdict = Result.FAIL if place == "stopped" and status.evidence else ring.verdict
        yield RingView(ring, ring_bar(ring), place, gates, verdict or "", _TONES[verdict] if verdict else "")


def _gates(ring: Ring) -> Iterator[str]:
    """What must hold before the ring passes, as it is written."""
    if ring.approval is not None and ring.approval.value == "Manual":
        yield "begins when a person approves"
    if ring.window is not None:
        yield "changes within its window only"
    yield f"at most {ring.in_flight} changing at once"
    if ring.soak != "0s":
        yield f"soaks {ring.soak}"
    if ring.rehearsal is not None:
        yield "rehearses recovery"


def _signals(decided: Decided | None, graphs: Mapping[str, Graph] | None) -> Iterator[SignalView]:
    if decided is None:
        return
    state, decision = decided.decision.state, decided.decision
    latest = {verdict.signal: verdict for verdict in (*decided.observed.verdicts.values(), *decision.verdicts)}
    if decision.watch is None:
        latest |= {verdict.signal: verdict for verdict in state.evidence}
    tallies = {tally.signal: tally for tally in state.tallies}
    for signal in decided.observed.plan.signals:
        verdict = latest.get(signal.name)
        graph = graphs.get(signal.name) if graphs is not None else None
        yield SignalView(
            signal,
            limit_of(signal),
            ", ".join(signal.blames),
            verdict,
            _TONES[verdict.result] if verdict else "off",
            _spent(signal, tallies.get(signal.name)),
            graph,
            picture(graph, signal) if graph is not None else None,
        )


def _spent(signal: Signal, tally: Tally | None) -> str:
    if tally is None or not tally.failures:
        return ""
    return f"failed {tally.failures} times in a row; {signal.failure_limit} fail the gate"


async def _told(namespace: str, name: str, kinds: frozenset[Kind], sources: Sources) -> Fragment:
    events: tuple[Happening, ...] = ()
    problem = ""
    if Kind.EVENTS in kinds:
        try:
            events = await sources.told.events("ReleasePlan", namespace, name)
        except BackstayError as error:
            problem = f"the Events cannot be read now: {error}"
    else:
        problem = f"you may not list {Kind.EVENTS} in {namespace}"
    return Fragment("events.html", {"events": events, "problem": problem})


def _headline(known: Known[ReleasePlan], stand: Stand) -> str:
    ring = known.model.status.ring if known.model else ""
    place = f" in ring {ring}" if ring else ""
    return f"{known.name} is {stand.phase}{place}, {stand.reason}"
