"""Looks at the health of the ring that a decision asked to watch, again and again, until it asks for another."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from backstay.controllers.metrics import OperatorMetrics
from backstay.core.actions import Watch
from backstay.core.plan import Plan
from backstay.core.signals import Result, Signal, Verdict
from backstay.errors import BackstayError
from backstay.ports.clock import Clock
from backstay.ports.signals import Signals

log = logging.getLogger(__name__)


class SignalWatch:
    """The verdicts of one plan's present watch; a new watch starts with none."""

    def __init__(
        self,
        signals: Signals,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        wake: Callable[[], None],
        metrics: OperatorMetrics,
    ) -> None:
        self._signals = signals
        self._clock = clock
        self._tasks = tasks
        self._wake = wake
        self._metrics = metrics
        self._asked: tuple[Watch, tuple[Signal, ...]] | None = None
        self._running: list[asyncio.Task[None]] = []
        self._verdicts: dict[str, Verdict] = {}

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The latest verdict of each signal."""
        return dict(self._verdicts)

    def follow(self, watch: Watch | None, plan: Plan) -> None:
        """Watch this from now on; the same watch goes on undisturbed."""
        asked = None if watch is None else (watch, plan.signals)
        if asked == self._asked:
            return
        for task in self._running:
            task.cancel()
        self._asked, self._verdicts = asked, {}
        self._running = [self._tasks.create_task(self._look(signal, watch, plan)) for signal in plan.signals if watch]

    async def _look(self, signal: Signal, watch: Watch | None, plan: Plan) -> None:
        if watch is None:
            return
        while True:
            verdict = await self._judged(signal, watch, plan)
            before = self._verdicts.get(signal.name)
            if before is None or before.result is not verdict.result:
                where = f"ring {watch.ring}" if watch.ring else "all rings"
                log.info(
                    "%s/%s: %s over %s: %s (%s)",
                    plan.namespace, plan.name, signal.name, where, verdict.result, verdict.message,
                )  # fmt: skip
            self._verdicts[signal.name] = verdict
            self._wake()
            await asyncio.sleep(signal.interval.total_seconds())

    async def _judged(self, signal: Signal, watch: Watch, plan: Plan) -> Verdict:
        at, began = self._clock.now(), self._clock.monotonic()
        try:
            verdict = await self._signals.evaluate(signal, watch, plan.namespace, plan.name, at)
        except BackstayError as error:
            verdict = Verdict(signal.name, Result.PROVIDER_ERROR, at, signal.query, None, str(error))
        self._metrics.judged(verdict, self._clock.monotonic() - began)
        return verdict
