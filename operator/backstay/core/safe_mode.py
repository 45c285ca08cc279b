"""Whether a node keeps only its agent and its connection, and by what it gets out of that again.

    asked for by                                            left by
    order     `spec.mode` of its EdgeDevice is Safe         Normal
    file      a file on its own disk, which root put there  removing it
    starts    `MOST_STARTS` starts in a row came to nothing `backstay recover`, and by nothing else
    recovery  the node runs its recovery system             `backstay recover`, which boots the one before

A start came to something once the agent has run for `STEADY`, and one that ended on purpose does not count. So nothing
depends on the time of day, which a node without a battery does not know when it boots.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

MOST_STARTS: Final = 5
"""So many starts in a row may come to nothing. More than a step on trial may have: that one goes back first."""
STEADY: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Starts:
    """How the last starts of the agent ended, in this boot and in earlier ones."""

    failed: int = 0
    """So many in a row came to nothing; the present one counts among them until it is steady or ends on purpose."""
    gave_up: bool = False
    """Once there were too many, only a person takes it back."""

    def started(self) -> "Starts":
        """The agent starts."""
        failed = self.failed + 1
        return Starts(failed, self.gave_up or failed > MOST_STARTS)

    def ended(self) -> "Starts":
        """The agent ends because it was told to, or to reboot the node."""
        return replace(self, failed=max(0, self.failed - 1))

    def steady(self) -> "Starts":
        """The agent has run for long enough."""
        return replace(self, failed=0)


def reasons_for_safe_mode(*, ordered: bool, file: str | None, starts: Starts, rescued: bool = False) -> tuple[str, ...]:
    """Why the node is in safe mode, each with what ends it; empty in normal operation."""
    found = []
    if ordered:
        found.append("spec.mode is Safe")
    if file is not None:
        found.append(f"the file {file} is there")
    if starts.gave_up:
        found.append(f"more than {MOST_STARTS} starts in a row came to nothing; `backstay recover` ends it")
    if rescued:
        found.append("the recovery system runs; `backstay recover` boots the one before")
    return tuple(found)
