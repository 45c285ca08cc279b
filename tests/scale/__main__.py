"""Take all figures, print them as a table, and write them to `build/bench/`: `python -m tests.scale [SIZE …]`."""

# ruff: noqa: T201 - a benchmark prints its table
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.scale import decisions, rollouts
from tests.scale.measuring import Figure, Memory, machine

SIZES: Final = (1_000, 10_000, 100_000)
OUT: Final = Path("build/bench")


def main(sizes: Iterable[int]) -> None:
    """Measure fleets of these sizes, the smallest first."""
    OUT.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        print(f"\n{size:,} devices")
        taken = []
        for one in decisions.figures(size):
            taken.append(one)
            print(_line(one), flush=True)
        _write(f"decisions-{size}.json", taken)
        played = []
        for one in rollouts.figures(size):
            played.append(one)
            print(_line(one), flush=True)
        _write(f"rollouts-{size}.json", played)


def _line(one: Figure | Memory) -> str:
    if isinstance(one, Memory):
        return f"  {'memory: ' + one.what:58}{one.kept_bytes:9.0f} B a device, at most {one.peak_bytes:.0f} B"
    return f"  {one.what:58}{one.median_ms:9.2f} ms   {one.fastest_ms:.2f} to {one.slowest_ms:.2f}, {one.runs} runs"


def _write(name: str, taken: Iterable[Figure | Memory]) -> None:
    figures = [asdict(one) for one in taken]
    report = {"machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "figures": figures}
    (OUT / name).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or SIZES)
