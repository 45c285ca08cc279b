"""How signals have gone: asked of Prometheus as the operator asks, confined to the plan's namespace in every selector.

The query is the health rule's, resolved anew. What stands in a plan's status is only shown: a tenant may write it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from backstay.adapters.prometheus import Curve, Prometheus
from backstay.adapters.promql import QueryRefused, resolve
from backstay.core.actions import Watch
from backstay.core.signals import Broken, Signal
from backstay.ports.clock import Clock
from backstay.ports.overview import Decided
from backstay.web.remembered import Remembered
from backstay.web.together import together

POINTS: Final = 120
LONGEST_WINDOW: Final = timedelta(hours=6)
SHORTEST_WINDOW: Final = timedelta(minutes=5)
RUN_UP: Final = timedelta(minutes=2)
"""What is shown from before the watch, for comparison."""
AFTERMATH: Final = timedelta(minutes=10)
"""What is shown from after a gate has failed: whether going back helped."""
SHORTEST_STEP_SECONDS: Final = 5
FRESH_SECONDS: Final = 10.0
MOST_GRAPHS: Final = 500
MOST_LINES: Final = 6
MOST_DRAWN: Final = 24
"""Signals of one plan that have a graph."""
PATIENCE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Window:
    """A time that is looked at, in steps."""

    since: datetime
    until: datetime
    step: timedelta

    @classmethod
    def over(cls, since: datetime, until: datetime) -> "Window":
        """A window that holds still for as long as its step, so that many readers share one answer."""
        since = max(since, until - LONGEST_WINDOW)
        since = min(since, until - SHORTEST_WINDOW)
        seconds = max(SHORTEST_STEP_SECONDS, ceil((until - since).total_seconds() / POINTS))
        return cls(_down_to(since, seconds), _down_to(until, seconds), timedelta(seconds=seconds))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a graph."""

    name: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A signal over time."""

    window: Window
    query: str
    lines: tuple[Line, ...] = ()
    problem: str = ""
    left_out: int = 0
    """Lines that would be too many to tell apart."""
    began: datetime | None = None
    """When the watch began."""


class Graphs:
    """Asks one Prometheus, on behalf of whoever may see the health rules of a namespace."""

    def __init__(self, prometheus: Prometheus, clock: Clock) -> None:
        self._prometheus = prometheus
        self._clock = clock
        self._asked: Remembered[tuple[str, Window], tuple[Curve, ...] | Broken] = Remembered(
            clock, seconds=FRESH_SECONDS, most=MOST_GRAPHS
        )

    async def of(self, decided: Decided) -> dict[str, Graph]:
        """The graph of each of a plan's first signals by the signal's name; raises nothing."""
        signals = decided.observed.plan.signals[:MOST_DRAWN]
        drawn = await together(self._graph(signal, decided) for signal in signals)
        return {signal.name: graph for signal, graph in zip(signals, drawn, strict=True)}

    async def _graph(self, signal: Signal, decided: Decided) -> Graph:
        plan, watch = decided.observed.plan, watch_of(decided)
        window = _window(decided, watch, self._clock.now())
        try:
            query = _scoped(signal, plan.namespace, plan.name, watch, baseline=False)
            if signal.comparison is None:
                return _drawn(window, query, watch, await self._ask(query, window), _whose(watch))
            ring, baseline = f"avg({query})", f"avg({_scoped(signal, plan.namespace, plan.name, watch, baseline=True)})"
            here, there = await together((self._ask(ring, window), self._ask(baseline, window)))
        except QueryRefused as refused:
            return Graph(window, signal.query, problem=f"the rule's query is refused: {refused}")
        return _compared(window, query, watch, here, there)

    async def _ask(self, query: str, window: Window) -> tuple[Curve, ...] | Broken:
        async def ask() -> tuple[Curve, ...] | Broken:
            # Also that it did not answer is remembered: a page must not wait for it each time.
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await self._prometheus.ask_over(query, window.since, window.until, window.step)
            except TimeoutError:
                return Broken(f"Prometheus did not answer within {PATIENCE_SECONDS:g} s")

        return await self._asked.answer((query, window), ask)


def watch_of(decided: Decided) -> Watch:
    """Whose health is shown: what is watched now, or else what was watched when the revision stopped."""
    state, decision = decided.decision.state, decided.decision
    if decision.watch is not None:
        return decision.watch
    rings = decided.observed.plan.rings
    ring = rings[state.ring].name if state.evidence and state.ring < len(rings) else None
    return Watch(state.revision, ring, looks=1, since=state.ring_since or state.since)


def _window(decided: Decided, watch: Watch, now: datetime) -> Window:
    state = decided.decision.state
    failed = next((verdict.at for verdict in state.evidence), None)
    if decided.decision.watch is None and failed is not None:
        return Window.over((state.ring_since or failed) - RUN_UP, min(now, failed + AFTERMATH))
    return Window.over((watch.since or now) - RUN_UP, now)


def _scoped(signal: Signal, namespace: str, plan: str, watch: Watch, *, baseline: bool) -> str:
    return resolve(
        signal.query,
        namespace=namespace,
        plan=plan,
        revision=watch.revision,
        ring=watch.ring,
        since=watch.since,
        baseline=baseline,
    )


def _drawn(window: Window, query: str, watch: Watch, curves: tuple[Curve, ...] | Broken, only: str) -> Graph:
    if isinstance(curves, Broken):
        return Graph(window, query, problem=curves.why, began=watch.since)
    lines = tuple(Line(_named(curve) or only, curve.points) for curve in curves if curve.points)
    return Graph(window, query, lines[:MOST_LINES], left_out=len(lines[MOST_LINES:]), began=watch.since)


def _compared(
    window: Window,
    query: str,
    watch: Watch,
    here: tuple[Curve, ...] | Broken,
    there: tuple[Curve, ...] | Broken,
) -> Graph:
    ring, baseline = (
        _drawn(window, query, watch, here, "ring, mean"),
        _drawn(window, query, watch, there, "baseline, mean"),
    )
    return Graph(
        window, query, ring.lines + baseline.lines, problem=ring.problem or baseline.problem, began=watch.since
    )


def _whose(watch: Watch) -> str:
    return f"ring {watch.ring}" if watch.ring else "all rings"


def _named(curve: Curve) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(curve.labels.items()))


def _down_to(at: datetime, seconds: int) -> datetime:
    return at - timedelta(seconds=at.timestamp() % seconds)


def values(lines: Iterable[Line]) -> list[float]:
    """Every number of some lines."""
    return [number for line in lines for _, number in line.points]
