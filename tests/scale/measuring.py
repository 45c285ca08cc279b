"""Taking figures: medians of repeated runs, memory by allocation, and what machine they were taken on."""

import gc
import os
import platform
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

FEWEST_RUNS: Final = 5
MOST_RUNS: Final = 200
BUDGET_SECONDS: Final = 2.0
"""How long one figure is measured, once it has its fewest runs."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How long something took, over all runs, in milliseconds."""

    what: str
    devices: int
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    runs: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What something allocated and kept, and how much it had at the most, in bytes for each device."""

    what: str
    devices: int
    kept_bytes: float
    peak_bytes: float


def timed(what: str, devices: int, run: Callable[[], object], *, prepare: Callable[[], object] | None = None) -> Figure:
    """Run until the budget is spent; what `prepare` does before each run is not counted."""
    gc.collect()
    taken: list[float] = []
    started = perf_counter()
    while len(taken) < FEWEST_RUNS or (perf_counter() - started < BUDGET_SECONDS and len(taken) < MOST_RUNS):
        if prepare is not None:
            prepare()
        begun = perf_counter()
        run()
        taken.append(perf_counter() - begun)
    in_ms = [1000 * seconds for seconds in taken]
    return Figure(what, devices, median(in_ms), min(in_ms), max(in_ms), len(in_ms))


def allocated(what: str, devices: int, make: Callable[[], object]) -> Memory:
    """Trace every allocation while something is made; what existed before counts for nothing."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return Memory(what, devices, kept / devices, peak / devices)


def machine() -> dict[str, object]:
    """Where the figures were taken."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }
