"""What a long step says while it runs: what, how far, how long so far."""

import sys
import time
from collections.abc import Callable

Report = Callable[[str], None]

EVERY_SECONDS = 10.0


def report_to_terminal(line: str) -> None:
    """Print one line of progress at once, apart from what the command itself prints."""
    print(f"  {line}", file=sys.stderr, flush=True)


class Progress:
    """One long step. It speaks when it begins, every ten seconds, and when it is done."""

    def __init__(self, report: Report, what: str, total: int = 0, unit: str = "") -> None:
        """Begin the step; `total` is how many units it has, or 0 if nobody knows."""
        self._report = report
        self._what = what
        self._total = total
        self._unit = unit
        self._began = self._spoke = time.monotonic()
        report(f"{what}{f': {total} {unit}' if total else ''}")

    def at(self, done: int) -> None:
        """Note how far the step is."""
        now = time.monotonic()
        if now - self._spoke >= EVERY_SECONDS:
            self._spoke = now
            far = f": {done} of {self._total} {self._unit}" if self._total else ""
            self._report(f"{self._what}{far}, {elapsed(now - self._began)} so far")

    def done(self) -> None:
        """End the step."""
        self._report(f"{self._what}: done in {elapsed(time.monotonic() - self._began)}")


def elapsed(seconds: float) -> str:
    """Minutes and seconds, as on a stopwatch."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
