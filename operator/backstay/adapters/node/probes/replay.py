"""SampleReplay: the model answers the samples that came with it as it should, and fast enough."""

import time
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar, Final

from backstay.adapters.node.probes.inference import InferenceProbe
from backstay.adapters.node.probes.off_loop import off_loop
from backstay.adapters.node.probes.open_inference import InferenceRefused
from backstay.adapters.node.probes.probe import Finding, amiss, fine
from backstay.adapters.node.probes.samples import GoldenSamples, Sample
from backstay.adapters.node.probes.surroundings import Served, Surroundings
from backstay.adapters.node.probes.words import milliseconds
from backstay.core.device import Probe
from backstay.core.quantities import fraction_of, seconds_of
from backstay.errors import Unavailable

PERCENTILE: Final = 0.95


@dataclass(slots=True)
class Replayed:
    """What a replay has shown so far."""

    latencies_seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Of each sample that is not answered as it should be, where."""

    @property
    def agreement(self) -> float:
        """The share of samples that were answered as they should be, from 0 to 1."""
        return 1 - len(self.wrong) / len(self.latencies_seconds)

    @property
    def p95_seconds(self) -> float:
        """The latency that 19 of 20 answers stay within, by the nearest rank."""
        ordered = sorted(self.latencies_seconds)
        return ordered[ceil(PERCENTILE * len(ordered)) - 1]


class SampleReplay(InferenceProbe):
    """At least `minAgreement` of the samples come out right, and 95 % of the answers within `maxLatency`."""

    timeout_seconds: ClassVar[float] = 60.0
    excusable: ClassVar[bool] = False

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._wanted = self.read("minAgreement", fraction_of, "0%")
        self._allowed_seconds = self.read("maxLatency", seconds_of, "24h")
        if not (probe.setting("minAgreement") or probe.setting("maxLatency")):
            raise ValueError("SampleReplay needs minAgreement, maxLatency or both")

    async def look(self) -> Finding:
        """Ask the model each sample, one after the other."""
        served = self.served
        if served is None or (path := served.samples) is None:
            return amiss("NoSamples", "no golden samples came with the model that runs; add some to its artifact")
        try:
            golden = await off_loop(lambda: GoldenSamples.load(path))
        except ValueError as error:
            return amiss("BadSamples", f"{path.name}: {error}")
        try:
            replayed = await self._replayed(served, golden)
        except Unavailable as error:
            return amiss("Unreachable", str(error))
        return self._judged(replayed)

    async def _replayed(self, served: Served, golden: GoldenSamples) -> Replayed:
        replayed = Replayed()
        for sample in golden.samples:
            begun = time.perf_counter()
            wrong = await self._wrong(served, golden, sample)
            replayed.latencies_seconds.append(time.perf_counter() - begun)
            if wrong is not None:
                replayed.wrong.append(wrong)
        return replayed

    async def _wrong(self, served: Served, golden: GoldenSamples, sample: Sample) -> str | None:
        request = {"inputs": sample.inputs, "outputs": [{"name": name} for name in sample.outputs]}
        try:
            answer = await self.server.infer(served.model, served.version, request)
            return golden.disagreement(sample, answer)
        except (InferenceRefused, TypeError) as error:
            return str(error)

    def _judged(self, replayed: Replayed) -> Finding:
        count, p95 = len(replayed.latencies_seconds), replayed.p95_seconds
        detail = f"{replayed.agreement:.1%} of {count} samples agree, p95 {milliseconds(p95)}"
        if replayed.agreement < self._wanted:
            first = replayed.wrong[0]
            return amiss("Disagrees", f"{detail}; at least {self._wanted:.1%} wanted; the first that differs: {first}")
        if p95 > self._allowed_seconds:
            return amiss("TooSlow", f"{detail}; at most {milliseconds(self._allowed_seconds)} wanted")
        return fine(detail)
